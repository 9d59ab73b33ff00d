/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/params.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "settings/json_build.h"

const struct param *param_find(const struct param *table, const char *name, size_t length)
{
	for (const struct param *p = table; p && p->name; p++)
		if (strlen(p->name) == length && !memcmp(p->name, name, length))
			return p;
	return NULL;
}

static const void *at(const struct params *params, const struct param *p)
{
	return params->bytes + p->offset;
}

static bool is_on(const struct params *params, const struct param *p)
{
	return *(const bool *)at(params, p);
}

static uint32_t number(const struct params *params, const struct param *p)
{
	return *(const uint32_t *)at(params, p);
}

const char *param_text(const struct params *params, const struct param *p)
{
	return at(params, p);
}

bool param_given(const struct params *params, const struct param *p)
{
	switch (p->kind) {
	case PARAM_TEXT:
		return param_text(params, p)[0];
	case PARAM_SWITCH:
		return is_on(params, p);
	case PARAM_NUMBER:
		return number(params, p);
	}
	return false;
}

bool param_equal(const struct params *a, const struct params *b, const struct param *p)
{
	switch (p->kind) {
	case PARAM_TEXT:
		return !strcmp(param_text(a, p), param_text(b, p));
	case PARAM_SWITCH:
		return is_on(a, p) == is_on(b, p);
	case PARAM_NUMBER:
		return number(a, p) == number(b, p);
	}
	return false;
}

bool params_equal(const struct params *a, const struct params *b, const struct param *table)
{
	for (const struct param *p = table; p && p->name; p++)
		if (!param_equal(a, b, p))
			return false;
	return true;
}

static int set_text(struct params *params, const struct param *p, const char *text, size_t length,
		    struct err *err)
{
	char *to = (char *)params->bytes + p->offset;

	if (length >= p->size)
		return err_set(err, EINVAL, p->name, "has %zu bytes: at most %zu fit", length, p->size - 1);
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return err_set(err, EINVAL, p->name, "has a control character in it");
	memset(to, 0, p->size);
	memcpy(to, text, length);
	return 0;
}

static int set_switch(struct params *params, const struct param *p, bool on)
{
	memcpy(params->bytes + p->offset, &on, sizeof(on));
	return 0;
}

static int set_number(struct params *params, const struct param *p, uint64_t n, struct err *err)
{
	uint32_t value = (uint32_t)n;

	if (n > p->max)
		return err_set(err, EINVAL, p->name, "must be 0 to %" PRIu32, p->max);
	memcpy(params->bytes + p->offset, &value, sizeof(value));
	return 0;
}

int param_set(struct params *params, const struct param *p, const char *text, size_t length, struct err *err)
{
	bool on = length == 2 && !memcmp(text, "on", 2);
	uint64_t n = 0;

	switch (p->kind) {
	case PARAM_TEXT:
		return set_text(params, p, text, length, err);
	case PARAM_SWITCH:
		if (length && !on && !(length == 3 && !memcmp(text, "off", 3)))
			return err_set(err, EINVAL, p->name, "must be on or off, not %.*s",
				       (int)MIN(length, (size_t)40), text);
		return set_switch(params, p, on);
	case PARAM_NUMBER:
		for (size_t i = 0; i < length; i++) {
			if (text[i] < '0' || text[i] > '9')
				return err_set(err, EINVAL, p->name, "must be a number, not %.*s",
					       (int)MIN(length, (size_t)40), text);
			n = MIN(10 * n + (uint64_t)(text[i] - '0'), (uint64_t)UINT32_MAX + 1);
		}
		return set_number(params, p, n, err);
	}
	return err_set(err, EINVAL, p->name, "is of no known kind");
}

int param_from_json(struct params *params, const struct param *p, const json_t *v, struct err *err)
{
	switch (p->kind) {
	case PARAM_TEXT:
		if (!json_is_string(v))
			return err_set(err, EINVAL, p->name, "must be a string");
		return set_text(params, p, json_string_value(v), json_string_length(v), err);
	case PARAM_SWITCH:
		if (!json_is_boolean(v))
			return err_set(err, EINVAL, p->name, "must be true or false");
		return set_switch(params, p, json_is_true(v));
	case PARAM_NUMBER:
		if (!json_is_integer(v) || json_integer_value(v) < 0)
			return err_set(err, EINVAL, p->name, "must be an integer from 0 to %" PRIu32, p->max);
		return set_number(params, p, (uint64_t)json_integer_value(v), err);
	}
	return err_set(err, EINVAL, p->name, "is of no known kind");
}

const char *param_print(const struct params *params, const struct param *p, char buf[PARAM_TEXT_MAX])
{
	switch (p->kind) {
	case PARAM_TEXT:
		snprintf(buf, PARAM_TEXT_MAX, "%s", param_text(params, p));
		break;
	case PARAM_SWITCH:
		snprintf(buf, PARAM_TEXT_MAX, "%s", is_on(params, p) ? "on" : "off");
		break;
	case PARAM_NUMBER:
		snprintf(buf, PARAM_TEXT_MAX, "%" PRIu32, number(params, p));
		break;
	}
	return buf;
}

static json_t *to_json(const struct params *params, const struct param *p)
{
	switch (p->kind) {
	case PARAM_TEXT:
		return json_string(param_text(params, p));
	case PARAM_SWITCH:
		return json_boolean(is_on(params, p));
	case PARAM_NUMBER:
		return json_integer(number(params, p));
	}
	return NULL;
}

void params_to_json(const struct params *params, const struct param *table, json_t **o)
{
	for (const struct param *p = table; p && p->name; p++)
		if (param_given(params, p))
			json_put(o, p->name, to_json(params, p));
}
