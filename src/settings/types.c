/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/types.h"

#include <stdio.h>
#include <string.h>

#define FABRIC_BASE(type)   &fabric_type_##type.base,
#define DATAPATH_BASE(type) &datapath_type_##type.base,

const struct type *const fabric_types[] = {ALL_FABRIC_TYPES(FABRIC_BASE) NULL};
const struct type *const datapath_types[] = {ALL_DATAPATH_TYPES(DATAPATH_BASE) NULL};

static const struct type *find(const struct type *const types[], const char *name, size_t length)
{
	for (unsigned int i = 0; types[i]; i++)
		if (strlen(types[i]->name) == length && !memcmp(types[i]->name, name, length))
			return types[i];
	return NULL;
}

static const struct datapath_type *datapath_of(const struct type *type)
{
	return type ? container_of(type, const struct datapath_type, base) : NULL;
}

const struct fabric_type *fabric_type_find(const char *name, size_t length)
{
	const struct type *type = find(fabric_types, name, length);

	return type ? container_of(type, const struct fabric_type, base) : NULL;
}

const struct datapath_type *datapath_type_find(const char *name, size_t length)
{
	return datapath_of(find(datapath_types, name, length));
}

const struct fabric_type *fabric_type_default(void)
{
	return container_of(fabric_types[0], const struct fabric_type, base);
}

const struct datapath_type *datapath_type_of_control(void)
{
	for (const struct type *const *t = datapath_types; *t; t++)
		if (datapath_of(*t)->carries_control)
			return datapath_of(*t);
	return NULL;
}

const char *type_names(const struct type *const types[], const char *last, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned int i = 0; types[i] && n < size; i++) {
		if (!i)
			n += (size_t)snprintf(buf, size, "%s", types[i]->name);
		else if (types[i + 1])
			n += (size_t)snprintf(buf + n, size - n, ", %s", types[i]->name);
		else
			n += (size_t)snprintf(buf + n, size - n, " %s %s", last, types[i]->name);
	}
	return buf;
}

const char *type_text(const struct type *type, const struct params *params, char *buf, size_t size)
{
	size_t n = (size_t)snprintf(buf, size, "%s", type->name);
	char text[PARAM_TEXT_MAX];

	for (const struct param *p = type->params; p && p->name && n < size; p++)
		if (param_given(params, p))
			n += (size_t)snprintf(buf + n, size - n, " %s",
					      p->kind == PARAM_SWITCH ? p->name
								      : param_print(params, p, text));
	return buf;
}
