/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/view.h"

#include <stdio.h>
#include <string.h>

const char *view_string(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

json_int_t view_number(const json_t *object, const char *key)
{
	const json_t *n = json_object_get(object, key);

	return json_is_integer(n) ? json_integer_value(n) : (json_int_t)json_real_value(n);
}

bool view_flag(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

const char *view_function(const json_t *object, char text[VIEW_TEXT_MAX])
{
	const json_t *vf = json_object_get(object, "vf");

	if (json_is_integer(vf))
		snprintf(text, VIEW_TEXT_MAX, "%s vf %" JSON_INTEGER_FORMAT, view_string(object, "pf"),
			 json_integer_value(vf));
	else
		snprintf(text, VIEW_TEXT_MAX, "%s pf", view_string(object, "pf"));
	return text;
}

const char *view_vlan(const json_t *vlan, char text[VIEW_TEXT_MAX])
{
	const char *mode = view_string(vlan, "mode"), *proto = view_string(vlan, "proto");
	json_int_t pcp = view_number(vlan, "pcp");
	char priority[32] = "";

	if (strcmp(mode, "access") == 0) {
		if (pcp)
			snprintf(priority, sizeof(priority), " pcp %" JSON_INTEGER_FORMAT, pcp);
		snprintf(text, VIEW_TEXT_MAX, "%" JSON_INTEGER_FORMAT "%s%s%s", view_number(vlan, "vid"),
			 priority, strcmp(proto, "802.1ad") == 0 ? " " : "",
			 strcmp(proto, "802.1ad") == 0 ? proto : "");
	} else if (strcmp(mode, "trunk") == 0) {
		snprintf(text, VIEW_TEXT_MAX, "trunk %s", view_string(vlan, "vids"));
	} else {
		snprintf(text, VIEW_TEXT_MAX, "-");
	}
	return text;
}

const char *view_uplink(const json_t *uplink, char text[VIEW_TEXT_MAX])
{
	const char *name = view_string(uplink, "name");

	snprintf(text, VIEW_TEXT_MAX, "%s%s%s", view_string(uplink, "type"), *name ? " " : "", name);
	return text;
}

const char *view_duration(json_int_t seconds, char text[VIEW_TEXT_MAX])
{
	int64_t s = (int64_t)seconds;

	if (s < 60)
		snprintf(text, VIEW_TEXT_MAX, "%d s", (int)s);
	else if (s < 3600)
		snprintf(text, VIEW_TEXT_MAX, "%d min %d s", (int)(s / 60), (int)(s % 60));
	else if (s < 86400)
		snprintf(text, VIEW_TEXT_MAX, "%d h %d min", (int)(s / 3600), (int)(s / 60 % 60));
	else
		snprintf(text, VIEW_TEXT_MAX, "%lld d %d h", (long long)(s / 86400), (int)(s / 3600 % 24));
	return text;
}

const char *view_rate(double value, char text[VIEW_TEXT_MAX])
{
	static const char *const prefixes[] = {"", "k", "M", "G", "T"};
	unsigned int p = 0;

	/* 999.5 would print as 1000 */
	for (; value >= 999.5 && p + 1 < ARRAY_SIZE(prefixes); p++)
		value /= 1000;
	snprintf(text, VIEW_TEXT_MAX, "%.*f%s%s",
		 p == 0 || value >= 99.95 ? 0
		 : value >= 9.995         ? 1
					  : 2,
		 value, p ? " " : "", prefixes[p]);
	return text;
}

char *view_any(const json_t *value)
{
	char *text = NULL;

	if (json_is_boolean(value))
		return strdup(view_on_off(json_is_true(value)));
	if (json_is_string(value))
		return strdup(json_string_value(value));
	if (json_is_null(value))
		return strdup("none");
	if (json_is_real(value))
		return asprintf(&text, "%g", json_real_value(value)) < 0 ? NULL : text;
	return json_dumps(value, JSON_ENCODE_ANY);
}

char *view_list(const json_t *array)
{
	char *text = strdup(""), *longer;
	json_t *item;
	size_t i;

	json_array_foreach (array, i, item) {
		if (!text || asprintf(&longer, "%s%s%s", text, *text ? "," : "",
				      json_is_string(item) ? json_string_value(item) : "?") < 0)
			longer = NULL;
		free(text);
		text = longer;
	}
	return text;
}

char *view_policy(const char *key, const json_t *value)
{
	bool rate = strcmp(key, "max_rate") == 0 || strcmp(key, "max_rate_total") == 0;
	char *text = NULL;

	if ((rate && json_integer_value(value) == 0) ||
	    (json_is_string(value) && !json_string_length(value)) ||
	    (json_is_array(value) && !json_array_size(value)))
		return strdup("none");
	if (rate && json_is_integer(value))
		return asprintf(&text, "%" JSON_INTEGER_FORMAT " Mb/s", json_integer_value(value)) < 0 ? NULL
												       : text;
	return json_is_array(value) ? view_list(value) : view_any(value);
}

const char *view_limits(const json_t *function, char text[VIEW_TEXT_MAX])
{
	json_int_t min = view_number(function, "min_rate"), max = view_number(function, "max_rate");

	if (min && max)
		snprintf(text, VIEW_TEXT_MAX, "%" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT " Mb/s",
			 min, max);
	else if (min || max)
		snprintf(text, VIEW_TEXT_MAX, "%s %" JSON_INTEGER_FORMAT " Mb/s", min ? "min" : "max",
			 min ? min : max);
	else
		snprintf(text, VIEW_TEXT_MAX, "-");
	return text;
}

char *view_drops(const json_t *drops)
{
	char *text = strdup(""), *longer;
	const char *reason;
	json_t *count;

	json_object_foreach ((json_t *)drops, reason, count) {
		if (!json_integer_value(count) || !text)
			continue;
		if (asprintf(&longer, "%s%s%s %" JSON_INTEGER_FORMAT, text, *text ? ", " : "", reason,
			     json_integer_value(count)) < 0)
			longer = NULL;
		free(text);
		text = longer;
	}
	return text;
}
