/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/help.h"

#include <string.h>

#include "ctl/ctl.h"

#define COLUMNS 80

/* Prints text in lines of at most COLUMNS, all but the first indented by `indent`; `at`: the column where it
 * starts. A newline in the text starts a new line. */
static void wrapped(struct out *out, const char *text, unsigned int at, unsigned int indent)
{
	unsigned int column = at;
	bool first = true; /* on its line */

	while (*text) {
		size_t n = strcspn(text, " \n");

		if (!first && column + 1 + n > COLUMNS) {
			fprintf(out->file, "\n%*s", (int)indent, "");
			column = indent;
			first = true;
		}
		if (!first) {
			fputc(' ', out->file);
			column++;
		}
		out_text(out, STYLE_PLAIN, "%.*s", (int)n, text);
		column += (unsigned int)n;
		first = false;
		text += n;
		if (*text == '\n') {
			fprintf(out->file, "\n%*s", text[1] == '\n' ? 0 : (int)indent, "");
			column = indent;
			first = true;
		}
		if (*text)
			text++;
	}
	fputc('\n', out->file);
}

/* "  NAME            text": after a name of up to 22 characters the text starts on the same line. */
static void entry(struct out *out, const char *name, const char *text)
{
	const unsigned int indent = 26;
	size_t n = strlen(name);

	fprintf(out->file, "  ");
	out_text(out, STYLE_HEAD, "%s", name);
	if (n + 2 < indent)
		fprintf(out->file, "%*s", (int)(indent - 2 - n), "");
	else
		fprintf(out->file, "\n%*s", (int)indent, "");
	wrapped(out, text, indent, indent);
}

static void print_args(struct out *out, const char *head, const struct arg *args, bool options)
{
	bool any = false;

	for (const struct arg *a = args; a && a->name; a++) {
		_cleanup_free_ char *name = NULL, *made = NULL;

		if (arg_is_option(a) != options)
			continue;
		if (!any)
			out_text(out, STYLE_HEAD, "\n%s:\n", head);
		any = true;
		made = a->make_help ? a->make_help() : NULL;
		if (asprintf(&name, "%s%s%s%s%s", a->letter ? (char[]){'-', a->letter, ',', ' ', '\0'} : "",
			     a->name, a->value ? " " : "", a->value ? a->value : "",
			     options && a->flags & ARG_REPEAT ? " …" : "") >= 0)
			entry(out, name, made ? made : a->help ? a->help : "");
	}
}

static void print_usage(struct out *out, const struct command *const path[], unsigned int depth)
{
	const struct command *cmd = path[depth - 1];
	unsigned int open = 0;
	bool options = false;

	out_text(out, STYLE_HEAD, "Usage:");
	fprintf(out->file, " vpfctl");
	for (unsigned int i = 1; i < depth; i++)
		fprintf(out->file, " %s", path[i]->name);
	if (cmd->sub)
		fprintf(out->file, " COMMAND …");

	for (const struct arg *a = command_args(cmd); a && a->name; a++) {
		if (arg_is_option(a)) {
			if (a->flags & ARG_REQUIRED)
				fprintf(out->file, " %s %s", a->name, a->value);
			else
				options = true;
			continue;
		}
		if (!(a->flags & ARG_REQUIRED)) {
			fprintf(out->file, " [");
			open++;
		} else {
			fputc(' ', out->file);
		}
		fprintf(out->file, "%s%s", a->name, a->flags & ARG_REPEAT ? "…" : "");
	}
	while (open--)
		fputc(']', out->file);
	fprintf(out->file, "%s\n", options ? " [OPTION…]" : "");
}

void help_print(struct out *out, const struct command *const path[], unsigned int depth)
{
	const struct command *cmd = path[depth - 1];

	print_usage(out, path, depth);
	fputc('\n', out->file);
	wrapped(out, cmd->about ? cmd->about : cmd->summary, 0, 0);

	if (cmd->sub) {
		out_text(out, STYLE_HEAD, "\nCommands:\n");
		for (const struct command *c = cmd->sub; c->name; c++)
			entry(out, c->name, c->summary);
	}
	print_args(out, "Arguments", command_args(cmd), false);
	print_args(out, "Options", command_args(cmd), true);
	print_args(out, "Options of every command", global_args, true);

	if (cmd->examples) {
		out_text(out, STYLE_HEAD, "\nExamples:\n");
		for (const struct example *e = cmd->examples; e->command; e++) {
			out_text(out, STYLE_HEAD, "  vpfctl %s\n", e->command);
			fprintf(out->file, "      ");
			wrapped(out, e->what, 6, 6);
		}
	}
}

int run_help(struct ctl *ctl, const struct invocation *inv, struct err *err)
{
	const struct command *path[COMMAND_DEPTH] = {&command_root};
	unsigned int depth = 1;
	const json_t *words = invocation_local(inv, "COMMAND");

	for (size_t i = 0; i < json_array_size(words); i++) {
		const char *word = json_string_value(json_array_get(words, i));
		const struct command *sub = command_find(path[depth - 1], word);

		if (!sub)
			return err_set(err, ENOENT, NULL, "there is no command '%.64s': see vpfctl help",
				       word);
		path[depth++] = sub;
	}
	help_print(&ctl->out, path, depth);
	return 0;
}
