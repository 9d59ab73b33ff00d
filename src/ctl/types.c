/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/types.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "ctl/value.h"
#include "ctl/view.h"

/* "socket" → "SOCKET" */
static void print_upper(FILE *f, const char *word)
{
	for (; *word; word++)
		fputc(toupper((unsigned char)*word), f);
}

static const char *value_name(const struct param *p)
{
	switch (p->kind) {
	case PARAM_TEXT:
		return p->what;
	case PARAM_SWITCH:
		return "on|off";
	case PARAM_NUMBER:
		return "n";
	}
	return "";
}

/* What is written, as a string; NULL without memory. */
struct text {
	char *text;
	size_t size;
};

static char *text_end(struct text *t, FILE *f)
{
	bool ok = !ferror(f);

	if (fclose(f) == 0 && ok)
		return t->text;
	free(t->text);
	return NULL;
}

char *fabric_type_help(void)
{
	struct text t = {0};
	FILE *f = open_memstream(&t.text, &t.size);

	if (!f)
		return NULL;
	for (unsigned int i = 0; fabric_types[i]; i++)
		fprintf(f, "%s%s: %s%s.", i ? " " : "", fabric_types[i]->name, fabric_types[i]->help,
			i ? "" : " (the default)");
	return text_end(&t, f);
}

/* "For --type bridge: its netdev." */
static char *param_help(const char *name)
{
	struct text t = {0};
	FILE *f = open_memstream(&t.text, &t.size);

	if (!f)
		return NULL;
	for (const struct type *const *type = fabric_types; *type; type++) {
		const struct param *p = param_find((*type)->params, name, strlen(name));

		if (p)
			fprintf(f, "%sFor --type %s: %s.", ftell(f) ? " " : "", (*type)->name, p->help);
	}
	return text_end(&t, f);
}

static char *param_value(const struct param *p)
{
	struct text t = {0};
	FILE *f = open_memstream(&t.text, &t.size);

	if (!f)
		return NULL;
	if (p->kind == PARAM_SWITCH)
		fputs(value_name(p), f);
	else
		print_upper(f, value_name(p));
	return text_end(&t, f);
}

static bool make_arg(const struct param *p, struct arg *ret)
{
	static const enum complete forms[] = {
		[PARAM_ANY] = COMPLETE_NOTHING, [PARAM_NETDEV] = COMPLETE_NETDEV, [PARAM_PATH] = COMPLETE_FILE};
	char *name = NULL, *value = param_value(p), *help = param_help(p->name);

	if (asprintf(&name, "--%s", p->name) < 0)
		name = NULL;
	if (!name || !value || !help) {
		free(name);
		free(value);
		free(help);
		return false;
	}
	*ret = (struct arg){
		.name = name, .value = value, .help = help, .param = p->name, .complete = forms[p->form]};
	if (p->kind == PARAM_SWITCH) {
		ret->parse = value_on_off;
		ret->complete = COMPLETE_WORDS;
		ret->words = words_on_off;
	} else if (p->kind == PARAM_NUMBER) {
		ret->parse = value_integer;
	}
	return true;
}

unsigned int fabric_param_args(unsigned int without, struct arg *ret, unsigned int room)
{
	unsigned int n = 0;

	for (const struct type *const *type = fabric_types; *type; type++)
		for (const struct param *p = (*type)->params; p && p->name && n < room; p++) {
			bool known = p->flags & without;

			for (unsigned int i = 0; i < n; i++)
				known |= strcmp(ret[i].param, p->name) == 0;
			n += !known && make_arg(p, &ret[n]);
		}
	return n;
}

/* "vhost-user:path=SOCKET[:server=on]", "vdpa:device=GLOB or vdpa:mgmtdev=GLOB" */
static void print_syntax(FILE *f, const struct type *type)
{
	bool any = false;

	for (const struct param *p = type->params; p && p->name; p++) {
		if (!(p->flags & PARAM_FIRST))
			continue;
		fprintf(f, "%s%s:%s=", any ? " or " : "", type->name, p->name);
		print_upper(f, value_name(p));
		any = true;
	}
	if (!any)
		fputs(type->name, f);
	for (const struct param *p = type->params; p && p->name; p++) {
		if (p->flags & PARAM_FIRST)
			continue;
		fprintf(f, "[:%s=", p->name);
		if (p->kind == PARAM_SWITCH)
			fputs("on", f);
		else
			print_upper(f, value_name(p));
		fputc(']', f);
	}
}

/* The help of --datapath, up to the meaning of "default". */
static FILE *begin_datapaths(struct text *t)
{
	FILE *f = open_memstream(&t->text, &t->size);

	if (!f)
		return NULL;
	fprintf(f, "What may serve its rings, best first, with commas between: ");
	for (unsigned int i = 0; datapath_types[i]; i++) {
		fputs(i ? ", " : "", f);
		print_syntax(f, datapath_types[i]);
		fprintf(f, " (%s)", datapath_types[i]->help);
	}
	fprintf(f, "; {pf} and {vf} in a socket's path stand for the function's names; default: ");
	return f;
}

char *pf_datapaths_help(void)
{
	struct text t = {0};
	FILE *f = begin_datapaths(&t);

	if (!f)
		return NULL;
	fprintf(f, "what the type of its fabric has, ");
	for (unsigned int i = 0; fabric_types[i]; i++)
		fprintf(f, "%s%s (%s)", i ? ", " : "",
			container_of(fabric_types[i], const struct fabric_type, base)->datapaths,
			fabric_types[i]->name);
	fputc('.', f);
	return text_end(&t, f);
}

char *vf_datapaths_help(void)
{
	struct text t = {0};
	FILE *f = begin_datapaths(&t);

	if (!f)
		return NULL;
	fprintf(f, "as its virtual PF. If it is in use it moves, and the outcome is printed.");
	return text_end(&t, f);
}

const char *view_fabric_type(const json_t *fabric, char *buf, size_t size)
{
	const char *name = view_string(fabric, "type");
	const struct fabric_type *type = fabric_type_find(name, strlen(name));
	struct params params = {0};

	if (!type) { /* of a newer vpfd */
		snprintf(buf, size, "%s", name);
		return buf;
	}
	for (const struct param *p = type->base.params; p && p->name; p++)
		if (json_object_get(fabric, p->name))
			param_from_json(&params, p, json_object_get(fabric, p->name), NULL);
	return type_text(&type->base, &params, buf, size);
}
