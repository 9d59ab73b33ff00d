/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/types_json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void printf_like(2, 3) say(struct json_made *made, const char *fmt, ...)
{
	size_t n = strlen(made->doc);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(made->doc + n, sizeof(made->doc) - n, fmt, ap);
	va_end(ap);
}

void types_json_type(const struct type *const types[], unsigned int flags, const char *more,
		     struct json_made *ret)
{
	unsigned int n = 0;

	*ret = (struct json_made){.field = {.name = "type", .kind = JSON_KIND_STRING, .flags = flags}};
	for (; n < JSON_MADE_CHOICES && types[n]; n++) {
		ret->choices[n] = types[n]->name;
		say(ret, "%s%s: %s", n ? "; " : "", types[n]->name, types[n]->help);
	}
	say(ret, "%s", more);
	ret->field.choices = ret->choices;
	ret->field.doc = ret->doc;
}

static struct json_field row_of(const struct param *p)
{
	static const enum json_kind kinds[] = {
		[PARAM_TEXT] = JSON_KIND_STRING, [PARAM_SWITCH] = JSON_KIND_BOOL, [PARAM_NUMBER] = JSON_KIND_INT};

	return (struct json_field){.name = p->name,
				   .kind = kinds[p->kind],
				   .max = p->kind == PARAM_TEXT ? (int64_t)p->size - 1 : p->max};
}

/* The i-th parameter of all types that no type before has, too. */
static const struct param *param_at(const struct type *const types[], unsigned int i)
{
	for (unsigned int t = 0; types[t]; t++)
		for (const struct param *p = types[t]->params; p && p->name; p++) {
			bool known = false;

			for (unsigned int before = 0; before < t; before++)
				known |= param_find(types[before]->params, p->name, strlen(p->name)) != NULL;
			if (!known && !i--)
				return p;
		}
	return NULL;
}

bool types_json_param(const struct type *const types[], unsigned int i, const char *of, struct json_made *ret)
{
	const struct param *p = param_at(types, i);

	if (!p)
		return false;
	*ret = (struct json_made){.field = row_of(p)};
	for (unsigned int t = 0; types[t]; t++) {
		const struct param *own = param_find(types[t]->params, p->name, strlen(p->name));

		if (!own)
			continue;
		ret->field.max = MAX(ret->field.max, row_of(own).max);
		say(ret, "%s%s%s: %s%s", ret->doc[0] ? "; " : "", of, types[t]->name, own->help,
		    own->flags & PARAM_FIXED ? "; fixed" : "");
	}
	ret->field.doc = ret->doc;
	return true;
}
