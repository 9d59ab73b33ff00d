/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/complete.h"

#include <dirent.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/value.h"
#include "settings/pf_fields.h"
#include "settings/types.h"

#define WORDS_MAX      128
#define ANSWER_TIME_MS 1000 /* a person has pressed a key and waits */

/* No space follows a candidate that ends in = or :, which can be continued, nor an empty one: nothing is left to
 * type. */
/* clang-format off */
static const char bash_script[] =
	"# SPDX-License-Identifier: Apache-2.0\n"
	"# Completion of vpfctl for bash: source <(vpfctl completion bash)\n"
	"_vpfctl()\n"
	"{\n"
	"\tlocal candidate\n"
	"\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r candidate; do\n"
	"\t\tif [[ $candidate == @files ]]; then\n"
	"\t\t\tcompopt -o filenames +o nospace\n"
	"\t\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$2\")\n"
	"\t\t\treturn\n"
	"\t\tfi\n"
	"\t\t[[ -z $candidate || $candidate == *[=:] ]] || candidate+=' '\n"
	"\t\tCOMPREPLY+=(\"$candidate\")\n"
	"\tdone < <(\"${1/#\\~\\//$HOME/}\" __complete \"$COMP_WORDBREAKS\" \"${COMP_LINE:0:COMP_POINT}\" 2>/dev/null)\n"
	"}\n"
	"complete -o nospace -F _vpfctl vpfctl\n";
/* clang-format on */

int run_completion(struct ctl *ctl, const struct invocation *inv, struct err *err)
{
	json_t *script = NULL;

	(void)inv;
	(void)err;
	if (!ctl->out.json) {
		fputs(bash_script, ctl->out.file);
		return 0;
	}
	script = json_string(bash_script);
	out_json(&ctl->out, script);
	json_decref(script);
	return 0;
}

/* The line in words, as a shell would split it; the last one is the one being typed, perhaps empty. */
struct words {
	char *store;
	const char *word[WORDS_MAX];
	unsigned int n;
};

static int split(const char *line, struct words *ret)
{
	char *to = malloc(strlen(line) + 2), quote = 0;
	bool in_word = false;

	if (!to)
		return -ENOMEM;
	*ret = (struct words){.store = to};

	for (; *line && ret->n < WORDS_MAX - 1; line++) {
		if (!quote && (*line == ' ' || *line == '\t' || *line == '\n')) {
			if (in_word)
				*to++ = '\0';
			in_word = false;
			continue;
		}
		if (!in_word)
			ret->word[ret->n++] = to;
		in_word = true;
		if (quote ? *line == quote : (*line == '\'' || *line == '"'))
			quote = quote ? 0 : *line;
		else if (*line == '\\' && quote != '\'' && line[1])
			*to++ = *++line;
		else
			*to++ = *line;
	}
	if (!in_word)
		ret->word[ret->n++] = to;
	*to = '\0';
	return 0;
}

struct completion {
	const char *word; /* what is being typed */
	size_t value; /* where in it the part begins that is completed: after "--option=", "tap:", "key=1," */
	size_t shown; /* where the shell thinks that the word begins */
	const char *socket;
	const char *pf; /* named earlier on the line */
	const struct arg *given[COMMAND_GIVEN];
	unsigned int given_n;
};

static void offer(const struct completion *c, const char *candidate)
{
	const char *typed = c->word + c->value;

	if (strncmp(candidate, typed, strlen(typed)) != 0)
		return;
	if (c->value >= c->shown)
		printf("%.*s%s\n", (int)(c->value - c->shown), c->word + c->shown, candidate);
	else
		printf("%s\n", candidate + (c->shown - c->value));
}

/* Names from vpfd go into the user's command line: only harmless ones. */
static void offer_name(const struct completion *c, const char *name)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	if (name && *name && *name != '-' && !name[strspn(name, safe)])
		offer(c, name);
}

static json_t *ask(const struct completion *c, const char *method)
{
	struct client_config config = {.path = ctl_socket(c->socket), .timeout_ms = ANSWER_TIME_MS};
	_cleanup_client_ struct client *client = NULL;
	json_t *params = json_object(), *result = NULL;

	if (params && client_new(&config, &client, NULL) == 0 &&
	    client_call(client, method, params, &result, NULL) < 0)
		result = NULL;
	json_decref(params);
	return result;
}

static void offer_names(const struct completion *c, const char *method)
{
	json_t *list = ask(c, method), *item;
	size_t i;

	json_array_foreach (list, i, item) {
		offer_name(c, json_string_value(json_object_get(item, "name")));
	}
	json_decref(list);
}

static void offer_functions(const struct completion *c)
{
	json_t *list = ask(c, "pf.list"), *item;
	size_t i;

	json_array_foreach (list, i, item) {
		const char *name = json_string_value(json_object_get(item, "name"));
		json_int_t vfs = MIN(json_integer_value(json_object_get(item, "vfs")), 4096);

		if (!name || !c->pf || strcmp(name, c->pf) != 0)
			continue;
		offer(c, "pf");
		for (json_int_t n = 0; n < vfs; n++) {
			char number[24];

			snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, n);
			offer(c, number);
		}
	}
	json_decref(list);
}

static void offer_netdevs(const struct completion *c)
{
	const struct dirent *entry;
	DIR *dir = opendir("/sys/class/net");

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			offer_name(c, entry->d_name);
	closedir(dir);
}

static void offer_uplinks(struct completion *c)
{
	static const char netdev[] = "netdev:";

	if (strncmp(c->word + c->value, netdev, strlen(netdev)) != 0) {
		offer(c, "none");
		offer(c, "tap:");
		offer(c, netdev);
		return;
	}
	c->value += strlen(netdev);
	offer_netdevs(c);
}

static void offer_words(const struct completion *c, const char *const *words)
{
	for (; *words; words++)
		offer(c, *words);
}

/* What follows the last comma. */
static void skip_items(struct completion *c)
{
	const char *comma = strrchr(c->word + c->value, ',');

	if (comma)
		c->value = (size_t)(comma + 1 - c->word);
}

/* Where the parameter begins that is being typed: after the last colon that one can follow. NULL: the type is. */
static const char *last_param(const char *item)
{
	const char *last = NULL;

	for (const char *colon = strchr(item, ':'); colon; colon = strchr(colon + 1, ':')) {
		const char *end = colon + 1 + strspn(colon + 1, "abcdefghijklmnopqrstuvwxyz");

		if (*end == '=' || !*end)
			last = colon + 1;
	}
	return last;
}

static void offer_param_value(const struct completion *c, const struct param *p)
{
	if (p->kind == PARAM_SWITCH)
		offer_words(c, words_on_off);
	else if (p->form == PARAM_NETDEV)
		offer_netdevs(c);
}

/* What `item`, "TYPE:KEY=VALUE:…", can go on with; `at`: where its last parameter begins. */
static void offer_params(struct completion *c, const char *item, const char *at)
{
	const struct datapath_type *type = datapath_type_find(item, strcspn(item, ":"));
	const char *equals = strchr(at, '=');
	const struct param *p;

	if (!type)
		return;
	if (equals) {
		p = param_find(type->base.params, at, (size_t)(equals - at));
		c->value = (size_t)(equals + 1 - c->word);
		if (p)
			offer_param_value(c, p);
		return;
	}
	c->value = (size_t)(at - c->word);
	for (p = type->base.params; p && p->name; p++) {
		char key[32];

		snprintf(key, sizeof(key), ":%s=", p->name);
		if (!strstr(item, key))
			offer(c, key + 1);
	}
}

/* A candidate that ends in = can be continued. */
static void offer_datapath_types(const struct completion *c)
{
	for (const struct type *const *type = datapath_types; *type; type++) {
		bool alone = true;

		for (const struct param *p = (*type)->params; p && p->name; p++) {
			char first[64];

			if (!(p->flags & PARAM_FIRST))
				continue;
			snprintf(first, sizeof(first), "%s:%s=", (*type)->name, p->name);
			offer(c, first);
			alone = false;
		}
		if (alone)
			offer(c, (*type)->name);
	}
}

/* A list is not the default, and where the default is a choice the list says so. */
static void offer_datapaths(struct completion *c)
{
	size_t start = c->value;
	const char *item, *param;

	skip_items(c);
	item = c->word + c->value;
	param = last_param(item);
	if (param) {
		offer_params(c, item, param);
		return;
	}
	offer_datapath_types(c);
	if (c->value == start)
		offer(c, "default");
}

static void offer_policy_value(const struct completion *c, const struct json_field *key)
{
	if (key->kind == JSON_KIND_BOOL)
		offer_words(c, words_on_off);
	if (key->choices)
		offer_words(c, key->choices);
	if (key->field->kind == &field_vlan_set)
		offer(c, "all");
	if (key->field->kind == &field_vlan_set || key->kind == JSON_KIND_ARRAY)
		offer(c, "none");
	if (key->field->zero)
		offer(c, key->field->zero);
}

static void offer_policy(struct completion *c)
{
	const char *item, *equals;

	skip_items(c);
	item = c->word + c->value;
	equals = strchr(item, '=');
	for (const struct json_field *key = policy_fields; key->name; key++) {
		char text[32];

		if (!equals) {
			snprintf(text, sizeof(text), "%s=", key->name);
			offer(c, text);
		} else if (strlen(key->name) == (size_t)(equals - item) &&
			   strncmp(key->name, item, (size_t)(equals - item)) == 0) {
			c->value = (size_t)(equals + 1 - c->word);
			offer_policy_value(c, key);
			return;
		}
	}
}

static void offer_values(struct completion *c, const struct arg *arg)
{
	switch (arg->complete) {
	case COMPLETE_NOTHING:
	case COMPLETE_COMMAND: /* depends on the words before */
		break;
	case COMPLETE_WORDS:
		offer_words(c, arg->words);
		break;
	case COMPLETE_NETDEV:
		offer_netdevs(c);
		break;
	case COMPLETE_FABRIC_TYPE:
		for (unsigned int i = 0; fabric_types[i]; i++)
			offer(c, fabric_types[i]->name);
		break;
	case COMPLETE_DATAPATHS:
		offer_datapaths(c);
		break;
	case COMPLETE_LIST:
		skip_items(c);
		offer_words(c, arg->words);
		break;
	case COMPLETE_FILE:
		puts("@files"); /* the shell knows files best */
		break;
	case COMPLETE_FABRIC:
		offer_names(c, "fabric.list");
		break;
	case COMPLETE_PF:
		offer_names(c, "pf.list");
		break;
	case COMPLETE_FUNCTION:
		offer_functions(c);
		break;
	case COMPLETE_UPLINK:
		offer_uplinks(c);
		break;
	case COMPLETE_POLICY:
		offer_policy(c);
		break;
	}
}

static void offer_options(const struct completion *c, const struct arg *args)
{
	for (const struct arg *a = args; a && a->name; a++) {
		bool given = false;

		for (unsigned int i = 0; i < c->given_n; i++)
			given |= c->given[i] == a;
		if (arg_is_option(a) && (!given || a->flags & ARG_REPEAT))
			offer(c, a->name);
	}
}

static void note_given(struct completion *c, const struct arg *arg, const char *value)
{
	if (c->given_n < COMMAND_GIVEN)
		c->given[c->given_n++] = arg;
	if (value && strcmp(arg->name, "--socket") == 0)
		c->socket = value;
	if (value && arg->complete == COMPLETE_PF)
		c->pf = value;
}

/* Follows the words before the one being typed, leniently, and completes that one. */
static void complete(struct completion *c, const struct words *words)
{
	const struct command *cmd = &command_root;
	const struct arg *next = NULL, *pending = NULL;

	for (unsigned int i = 1; i + 1 < words->n; i++) {
		const char *word = words->word[i];
		const struct command *sub;

		if (pending) {
			note_given(c, pending, word);
			pending = NULL;
		} else if (word[0] == '-' && word[1]) {
			const char *equals = strchr(word, '=');
			const struct arg *arg = command_find_option(
				cmd, word, equals ? (size_t)(equals - word) : strlen(word));

			if (arg && arg->value && !equals)
				pending = arg;
			else if (arg)
				note_given(c, arg, equals ? equals + 1 : NULL);
		} else if (next && next->name && next->complete == COMPLETE_COMMAND) {
			cmd = command_find(cmd, word);
			if (!cmd)
				return;
		} else if (cmd->sub) {
			sub = command_find(cmd, word);
			if (!sub)
				return;
			cmd = sub;
			next = command_args(sub);
			if (next && next->name && next->complete == COMPLETE_COMMAND)
				cmd = &command_root;
		} else if (next && next->name && !arg_is_option(next)) {
			note_given(c, next, word);
			if (!(next->flags & ARG_REPEAT))
				next++;
		}
	}

	if (!pending && c->word[0] == '-') {
		const char *equals = strchr(c->word, '=');

		if (!equals) {
			offer_options(c, command_args(cmd));
			offer_options(c, global_args);
			return;
		}
		c->value = (size_t)(equals + 1 - c->word);
		pending = command_find_option(cmd, c->word, (size_t)(equals - c->word));
		if (!pending || !pending->value)
			return;
	}
	if (pending) {
		offer_values(c, pending);
	} else if (cmd->sub) {
		for (const struct command *s = cmd->sub; s->name; s++)
			offer(c, s->name);
	} else if (next && next->name && !arg_is_option(next)) {
		offer_values(c, next);
	} else if (next && next->complete != COMPLETE_COMMAND) {
		offer_options(c, command_args(cmd));
	}
}

int complete_main(int argc, char *argv[])
{
	struct completion c = {0};
	struct words words;

	if (argc != 2 || split(argv[1], &words) < 0)
		return 2;
	c.word = words.word[words.n - 1];
	/* The shell replaces only what follows the last of its own word breaks. */
	for (size_t i = 0; c.word[i]; i++)
		if (strchr(":=", c.word[i]) && strchr(argv[0], c.word[i]))
			c.shown = i + 1;
	if (words.n > 1)
		complete(&c, &words);
	free(words.store);
	return fflush(stdout) == 0 ? 0 : 1;
}
