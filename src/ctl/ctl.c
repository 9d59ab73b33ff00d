/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/command.h"
#include "ctl/complete.h"
#include "ctl/help.h"
#include "ctl/progress.h"

enum { STATUS_FAILED = 1, STATUS_USAGE = 2 };

const char *ctl_socket(const char *option)
{
	const char *path = option;

	if (!path || !*path)
		path = getenv("VPF_SOCKET");
	if (!path || !*path)
		path = CLIENT_DEFAULT_SOCKET;
	return path;
}

int ctl_call(struct ctl *ctl, const char *method, json_t *params, json_t **ret, struct err *err)
{
	if (!ctl->client) {
		struct client_config config = {
			.path = ctl->socket, .timeout_ms = -1, .waiting = progress_waiting};
		int r = client_new(&config, &ctl->client, err);

		if (r < 0)
			return r;
	}
	return client_call(ctl->client, method, params, ret, err);
}

int run_method(struct ctl *ctl, const struct invocation *inv, struct err *err)
{
	const struct command *cmd = invocation_command(inv);
	json_t *result;
	int r = ctl_call(ctl, cmd->method, inv->params, &result, err);

	if (r < 0)
		return r;
	if (ctl->out.json)
		out_json(&ctl->out, result);
	else if (cmd->print)
		cmd->print(&ctl->out, result);
	json_decref(result);
	return 0;
}

/* The no-color.org convention; a terminal without colours counts as no terminal. */
static bool use_color(const struct invocation *inv)
{
	const char *when = json_string_value(invocation_local(inv, "--color"));
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	if (when && strcmp(when, "auto") != 0)
		return strcmp(when, "always") == 0;
	return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

static int usage_error(const struct invocation *inv, const struct err *err)
{
	fprintf(stderr, "vpfctl: %s\nTry 'vpfctl", err->text);
	for (unsigned int i = 1; i < inv->depth; i++)
		fprintf(stderr, " %s", inv->path[i]->name);
	fprintf(stderr, " --help'.\n");
	return STATUS_USAGE;
}

/* vpfd's message begins with the field, for clients that show nothing else; here the option replaces it. */
static const char *without_field(const struct err *err)
{
	size_t n = strlen(err->field);

	if (n && strncmp(err->text, err->field, n) == 0 && strncmp(err->text + n, ": ", 2) == 0)
		return err->text + n + 2;
	return err->text;
}

/* vpfd's message for who types the option, which has a word for what JSON calls null: "…, or default". */
static void for_option(const struct arg *arg, const char *text, char *to, size_t size)
{
	static const char null[] = ", or null";
	size_t n = strlen(text), end = sizeof(null) - 1;

	if (arg->null && n > end && strcmp(text + n - end, null) == 0)
		snprintf(to, size, "%.*s, or %s", (int)(n - end), text, arg->null);
	else
		snprintf(to, size, "%s", text);
}

static int failure(const struct invocation *inv, const struct err *err)
{
	const struct arg *arg = invocation_arg_for_field(inv, err->field);
	struct out out = {.file = stderr};
	const char *part = strchr(err->field, '.');
	char text[sizeof(err->text) + 16];

	/* "--policy max_driver_macs: …": which part of a value that has several. */
	if (arg) {
		for_option(arg, without_field(err), text, sizeof(text));
		out_text(&out, STYLE_PLAIN, "vpfctl: %s%s%s: %s\n", arg->name, part ? " " : "",
			 part ? part + 1 : "", text);
	} else if (*err->field) {
		out_text(&out, STYLE_PLAIN, "vpfctl: %s: %s\n", err->field, without_field(err));
	} else {
		out_text(&out, STYLE_PLAIN, "vpfctl: %s\n", err->text);
	}
	return STATUS_FAILED;
}

int ctl_main(int argc, char *argv[])
{
	struct ctl ctl = {.out = {.file = stdout}};
	struct invocation inv;
	struct err err = {0};
	int status = 0, r;

	if (argc > 1 && strcmp(argv[1], COMPLETE_VERB) == 0)
		return complete_main(argc - 2, argv + 2);

	r = command_parse(&command_root, argc - 1, argv + 1, &inv, &err);
	if (r < 0) {
		status = usage_error(&inv, &err);
		goto done;
	}
	ctl.socket = ctl_socket(json_string_value(invocation_local(&inv, "--socket")));
	ctl.out.json = invocation_flag(&inv, "--json");
	ctl.out.color = !ctl.out.json && use_color(&inv);
	ctl.out.terminal = isatty(STDOUT_FILENO);

	if (invocation_flag(&inv, "--help"))
		help_print(&ctl.out, inv.path, inv.depth);
	else if (invocation_flag(&inv, "--version"))
		out_text(&ctl.out, STYLE_PLAIN, "vpfctl %s\n", VPF_VERSION);
	else if (invocation_command(&inv)->run(&ctl, &inv, &err) < 0)
		status = failure(&inv, &err);

	r = out_finish(&ctl.out);
	if (r < 0 && !status) {
		fprintf(stderr, "vpfctl: cannot write the output: %s\n", strerror(-r));
		status = STATUS_FAILED;
	}
done:
	client_free(ctl.client);
	invocation_free(&inv);
	return status;
}
