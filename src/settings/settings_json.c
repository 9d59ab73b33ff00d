/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/settings_json.h"

#include <stdio.h>
#include <string.h>

#include "settings/json_build.h"

const char *const fabric_type_choices[] = {"builtin", "bridge", NULL};
static const char *const datapath_choices[] = {"builtin", "vhost-net", "vhost-user", "vdpa", NULL};
static const char *const uplink_choices[] = {"none", "tap", "netdev", NULL};

const struct json_field uplink_json_fields[] = {
	{.name = "type",
	 .kind = JSON_KIND_STRING,
	 .flags = JSON_REQUIRED,
	 .choices = uplink_choices,
	 .doc = "none; tap: vpfd creates it; netdev: an existing one"},
	{.name = "name", .kind = JSON_KIND_STRING, .max = IFNAMSIZ - 1, .doc = "of the network interface"},
	{0},
};

const struct json_field datapath_json_fields[] = {
	{.name = "type",
	 .kind = JSON_KIND_STRING,
	 .flags = JSON_REQUIRED,
	 .choices = datapath_choices,
	 .doc = "builtin: vpfd's workers; vhost-net: the kernel's, on a bridge; vhost-user: another back-end; vdpa: a kernel vhost-vdpa device"},
	{.name = "path",
	 .kind = JSON_KIND_STRING,
	 .min = 1,
	 .max = VPF_DATAPATH_PARAM - 1,
	 .doc = "vhost-user: the back-end's socket; {pf} and {vf} stand for the names of PF and VF"},
	{.name = "server",
	 .kind = JSON_KIND_BOOL,
	 .doc = "vhost-user: vpfd listens and the back-end connects (default false)"},
	{.name = "offload",
	 .kind = JSON_KIND_BOOL,
	 .doc = "vhost-user: the back-end takes checksum and segmentation offload (default false)"},
	{.name = "device",
	 .kind = JSON_KIND_STRING,
	 .min = 1,
	 .max = VPF_DATAPATH_PARAM - 1,
	 .doc = "vdpa: pattern (as of file names) of existing vDPA devices that may be used"},
	{.name = "mgmtdev",
	 .kind = JSON_KIND_STRING,
	 .min = 1,
	 .max = 63,
	 .doc = "vdpa: pattern of management devices on which one may be made"},
	{0},
};

/* Index of the choice; the table check has seen to it that there is one. */
static int choice(const json_t *v, const char *const *choices)
{
	const char *s = json_string_value(v);

	for (int i = 0; choices[i]; i++)
		if (!strcmp(choices[i], s))
			return i;
	return 0;
}

const char *fabric_type_name(enum fabric_type type)
{
	return fabric_type_choices[type];
}

const char *uplink_type_name(enum uplink_type type)
{
	return uplink_choices[type];
}

void fabric_settings_read(const json_t *o, struct fabric_settings *s)
{
	const json_t *v;

	v = json_object_get(o, "type");
	if (v)
		s->type = (enum fabric_type)choice(v, fabric_type_choices);
	v = json_object_get(o, "bridge");
	if (v) {
		memset(s->bridge, 0, sizeof(s->bridge));
		snprintf(s->bridge, sizeof(s->bridge), "%s", json_string_value(v));
	}
	v = json_object_get(o, "uplink");
	if (v) {
		const char *name = json_string_value(json_object_get(v, "name"));

		s->uplink = (enum uplink_type)choice(json_object_get(v, "type"), uplink_choices);
		memset(s->uplink_name, 0, sizeof(s->uplink_name));
		if (name)
			snprintf(s->uplink_name, sizeof(s->uplink_name), "%s", name);
	}
	v = json_object_get(o, "learning");
	if (v)
		s->learning = json_is_true(v);
	v = json_object_get(o, "ageing");
	if (v)
		s->ageing = (uint32_t)json_integer_value(v);
	v = json_object_get(o, "max_learned");
	if (v)
		s->max_learned = (uint32_t)json_integer_value(v);
}

bool fabric_settings_equal(const struct fabric_settings *a, const struct fabric_settings *b)
{
	return !strcmp(a->name, b->name) && a->type == b->type && !strcmp(a->bridge, b->bridge) &&
	       a->uplink == b->uplink && !strcmp(a->uplink_name, b->uplink_name) &&
	       a->learning == b->learning && a->ageing == b->ageing && a->max_learned == b->max_learned;
}

json_t *fabric_settings_json(const struct fabric_settings *s)
{
	json_t *uplink = json_pack("{s:s}", "type", uplink_type_name(s->uplink)), *o;

	if (s->uplink != UPLINK_NONE)
		json_put(&uplink, "name", json_string(s->uplink_name));
	o = json_pack("{s:s, s:s, s:o, s:b, s:I, s:I}", "name", s->name, "type", fabric_type_name(s->type),
		      "uplink", uplink, "learning", s->learning, "ageing", (json_int_t)s->ageing,
		      "max_learned", (json_int_t)s->max_learned);
	if (s->type == FABRIC_BRIDGE)
		json_put(&o, "bridge", json_string(s->bridge));
	return o;
}
