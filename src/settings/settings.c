/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/settings.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "settings/function_fields.h"
#include "settings/pf_fields.h"

void fabric_settings_init(struct fabric_settings *s, const char *name)
{
	*s = (struct fabric_settings){
		.type = fabric_type_default(), .uplink = UPLINK_NONE, .ageing = 300, .max_learned = 256};
	snprintf(s->name, sizeof(s->name), "%s", name);
}

void pf_settings_init(struct pf_settings *s, const char *name)
{
	*s = (struct pf_settings){.queue_pairs = 1, .spoofchk = true};
	fields_init(pf_fields, s);
	datapath_list_init(&s->datapaths, fabric_type_default());
	snprintf(s->name, sizeof(s->name), "%s", name);
	snprintf(s->vm, sizeof(s->vm), "%s", name);
}

void function_settings_init(struct function_settings *s)
{
	*s = (struct function_settings){0};
	fields_init(function_fields, s);
}

void datapath_list_init(struct datapath_list *list, const struct fabric_type *type)
{
	int r = datapath_list_parse(type->datapaths, list, NULL);

	assert(!r); /* a text in the source, which a unit test has parsed */
	(void)r;
}
