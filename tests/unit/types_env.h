/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What tests do with types of fabrics and datapaths. */

#include <assert.h>
#include <string.h>

#include "settings/settings.h"

#define FAKE_TYPES 8

/* The place of a type in the list, for arrays of what a fake has of each. */
static inline unsigned int fake_type(const struct datapath_type *type)
{
	unsigned int i = 0;

	while (datapath_types[i] != &type->base)
		i++;
	assert(i < FAKE_TYPES);
	return i;
}

static inline void set_param(struct params *params, const struct type *type, const char *name,
			     const char *text)
{
	int r = param_set(params, param_find(type->params, name, strlen(name)), text, strlen(text), NULL);

	assert(!r);
	(void)r;
}

static inline void set_bridge(struct fabric_settings *s, const char *bridge)
{
	set_param(&s->params, &fabric_type_bridge.base, "bridge", bridge);
}
