/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/command.h"

#include <string.h>

#include "ctl/suggest.h"

const struct command *command_find(const struct command *parent, const char *name)
{
	for (const struct command *c = parent->sub; c && c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static const struct arg *find_option_in(const struct arg *args, const char *name, size_t len)
{
	for (const struct arg *a = args; a && a->name; a++) {
		if (!arg_is_option(a))
			continue;
		if (strlen(a->name) == len && memcmp(a->name, name, len) == 0)
			return a;
		if (a->letter && len == 2 && name[0] == '-' && name[1] == a->letter)
			return a;
	}
	return NULL;
}

const struct arg *command_find_option(const struct command *cmd, const char *name, size_t len)
{
	const struct arg *found = cmd ? find_option_in(command_args(cmd), name, len) : NULL;

	return found ? found : find_option_in(global_args, name, len);
}

static int unknown_command(const struct command *parent, const char *word, struct err *err)
{
	struct suggestion near = {0};

	for (const struct command *c = parent->sub; c->name; c++)
		suggest_consider(&near, word, c->name);
	if (near.word)
		return err_set(err, EINVAL, NULL, "there is no command '%.64s': did you mean '%s'?", word,
			       near.word);
	return err_set(err, EINVAL, NULL, "there is no command '%.64s'", word);
}

static int unknown_option(const struct command *cmd, const char *word, size_t len, struct err *err)
{
	struct suggestion near = {0};
	char typed[64];

	if (len >= sizeof(typed))
		len = sizeof(typed) - 1;
	memcpy(typed, word, len);
	typed[len] = '\0';

	for (const struct arg *a = command_args(cmd); a && a->name; a++)
		if (arg_is_option(a))
			suggest_consider(&near, typed, a->name);
	for (const struct arg *a = global_args; a->name; a++)
		suggest_consider(&near, typed, a->name);
	if (near.word)
		return err_set(err, EINVAL, NULL, "there is no option %s here: did you mean %s?", typed,
			       near.word);
	return err_set(err, EINVAL, NULL, "there is no option %s here", typed);
}

static bool was_given(const struct invocation *inv, const struct arg *arg)
{
	for (unsigned int i = 0; i < inv->given_n; i++)
		if (inv->given[i] == arg)
			return true;
	return false;
}

/* Checks the text of an argument against its table row and stores the value; NULL text: a flag. */
static int take_value(struct invocation *inv, const struct arg *arg, const char *text, struct err *err)
{
	json_t *into = arg->param ? inv->params : inv->local;
	const char *key = arg->param ? arg->param : arg->name;
	json_t *value = NULL, *held;
	struct err why = {0};

	if (!(arg->flags & ARG_REPEAT)) {
		if (was_given(inv, arg))
			return err_set(err, EINVAL, NULL, "%s is given twice", arg->name);
		if (json_object_get(into, key))
			for (unsigned int i = 0; i < inv->given_n; i++)
				if (inv->given[i]->param && strcmp(inv->given[i]->param, key) == 0)
					return err_set(err, EINVAL, NULL, "%s and %s are mutually exclusive",
						       inv->given[i]->name, arg->name);
	}
	if (inv->given_n == COMMAND_GIVEN)
		return err_set(err, EINVAL, NULL, "too many arguments");

	if (!text) {
		value = json_true();
	} else if (arg->parse) {
		int r = arg->parse(text, &value, &why);

		if (r < 0)
			return err_set(err, -r, NULL, "%s: %s", arg->name, why.text);
	} else {
		value = json_string(text);
		if (!value)
			return err_set(err, EINVAL, NULL, "%s: the text is not UTF-8", arg->name);
	}

	inv->given[inv->given_n++] = arg;
	if (arg->flags & ARG_REPEAT) {
		held = json_object_get(into, key);
		if (!held && json_object_set_new(into, key, held = json_array()) < 0)
			goto no_memory;
		return json_array_append_new(held, value) < 0 ? err_set(err, ENOMEM, NULL, "out of memory")
							      : 0;
	}
	if (json_object_set_new(into, key, value) == 0)
		return 0;
	return err_set(err, ENOMEM, NULL, "out of memory");

no_memory:
	json_decref(value);
	return err_set(err, ENOMEM, NULL, "out of memory");
}

/* One option at argv[*i], with its value in the same word or in the next. */
static int take_option(struct invocation *inv, int argc, char *const argv[], int *i, struct err *err)
{
	const struct command *cmd = invocation_command(inv);
	const char *word = argv[*i], *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct arg *arg = command_find_option(cmd, word, len);

	if (!arg)
		return unknown_option(cmd, word, len, err);
	if (!arg->value) {
		if (equals)
			return err_set(err, EINVAL, NULL, "%s takes no value", arg->name);
		return take_value(inv, arg, NULL, err);
	}
	if (equals)
		return take_value(inv, arg, equals + 1, err);
	if (*i + 1 >= argc)
		return err_set(err, EINVAL, NULL, "%s needs a value: %s %s", arg->name, arg->name,
			       arg->value);
	return take_value(inv, arg, argv[++*i], err);
}

static int take_word(struct invocation *inv, const char *word, const struct arg **next, struct err *err)
{
	const struct command *cmd = invocation_command(inv);
	const struct arg *arg = *next;
	int r;

	if (cmd->sub) {
		const struct command *sub = command_find(cmd, word);

		if (!sub)
			return unknown_command(cmd, word, err);
		inv->path[inv->depth++] = sub;
		*next = command_args(sub);
		return 0;
	}
	if (!arg || !arg->name || arg_is_option(arg))
		return err_set(err, EINVAL, NULL, "'%.64s' is one argument too many", word);
	r = take_value(inv, arg, word, err);
	if (r == 0 && !(arg->flags & ARG_REPEAT))
		*next = arg + 1;
	return r;
}

static bool sets_something(const struct invocation *inv)
{
	for (unsigned int i = 0; i < inv->given_n; i++)
		if (inv->given[i]->param && arg_is_option(inv->given[i]))
			return true;
	return false;
}

/* Whether all required arguments were given, and something to do. */
static int check_complete(const struct invocation *inv, struct err *err)
{
	const struct command *cmd = invocation_command(inv);
	char names[160] = "";
	size_t n = 0;

	if (!cmd->sub) {
		for (const struct arg *a = command_args(cmd); a && a->name; a++)
			if (a->flags & ARG_REQUIRED && !was_given(inv, a))
				return err_set(err, EINVAL, NULL, "%s%s%s is missing", a->name,
					       a->value ? " " : "", a->value ? a->value : "");
		if (cmd->changes && !sets_something(inv))
			return err_set(err, EINVAL, NULL, "nothing to set: give at least one setting");
		return 0;
	}
	for (const struct command *c = cmd->sub; c->name && n < sizeof(names); c++)
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", n ? ", " : "", c->name);
	return err_set(err, EINVAL, NULL, "a command is missing: %s%s", cmd->sub[1].name ? "one of " : "",
		       names);
}

int command_parse(const struct command *root, int argc, char *const argv[], struct invocation *ret,
		  struct err *err)
{
	const struct arg *next = NULL;
	bool only_words = false;

	*ret = (struct invocation){
		.path = {root},
		.depth = 1,
		.params = json_object(),
		.local = json_object(),
	};
	if (!ret->params || !ret->local)
		return err_set(err, ENOMEM, NULL, "out of memory");

	for (int i = 0; i < argc; i++) {
		bool option = !only_words && argv[i][0] == '-' && argv[i][1];
		int r;

		if (option && strcmp(argv[i], "--") == 0) {
			only_words = true;
			continue;
		}
		r = option ? take_option(ret, argc, argv, &i, err) : take_word(ret, argv[i], &next, err);
		if (r < 0)
			return r;
	}
	if (invocation_flag(ret, "--help") || invocation_flag(ret, "--version"))
		return 0;
	return check_complete(ret, err);
}

void invocation_free(struct invocation *inv)
{
	json_decref(inv->params);
	json_decref(inv->local);
	*inv = (struct invocation){0};
}

json_t *invocation_local(const struct invocation *inv, const char *arg)
{
	return json_object_get(inv->local, arg);
}

bool invocation_flag(const struct invocation *inv, const char *arg)
{
	return json_is_true(invocation_local(inv, arg));
}

const struct arg *invocation_arg_for_field(const struct invocation *inv, const char *field)
{
	size_t len = strcspn(field, ".[");

	if (!len)
		return NULL;
	for (unsigned int i = 0; i < inv->given_n; i++) {
		const char *param = inv->given[i]->param;

		if (param && strlen(param) == len && memcmp(param, field, len) == 0)
			return inv->given[i];
	}
	for (const struct arg *a = command_args(invocation_command(inv)); a && a->name; a++)
		if (a->param && strlen(a->param) == len && memcmp(a->param, field, len) == 0)
			return a;
	return NULL;
}
