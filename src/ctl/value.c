/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/value.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "settings/datapath_list.h"
#include "settings/function_fields.h"
#include "settings/pf_fields.h"

const char *const words_on_off[] = {"on", "off", NULL};
const char *const words_default[] = {"default", NULL};
const char *const words_color[] = {"auto", "always", "never", NULL};
const char *const words_shell[] = {"bash", NULL};
const char *const words_topics[] = {"function", "link", "pf",      "fabric",   "fdb",
				    "ring",     "qmp",  "control", "datapath", NULL};
const char *const words_none[] = {"none", NULL};

static int give(json_t *value, json_t **ret, struct err *err)
{
	if (!value) /* what json_pack() and json_string() make of text that is not UTF-8 */
		return err_set(err, EINVAL, NULL, "the text is not UTF-8");
	*ret = value;
	return 0;
}

static int parse_integer(const char *text, json_int_t *ret)
{
	char *end;
	long long n;

	/* strtoll() would also take leading spaces and a plus sign. */
	if (!(text[0] >= '0' && text[0] <= '9') && !(text[0] == '-' && text[1] >= '0' && text[1] <= '9'))
		return -EINVAL;
	errno = 0;
	n = strtoll(text, &end, 10);
	if (*end || errno)
		return -EINVAL;
	*ret = n;
	return 0;
}

int value_integer(const char *text, json_t **ret, struct err *err)
{
	json_int_t n;

	if (parse_integer(text, &n) < 0)
		return err_set(err, EINVAL, NULL, "'%.64s' is not a whole number", text);
	return give(json_integer(n), ret, err);
}

int value_integer_or_default(const char *text, json_t **ret, struct err *err)
{
	if (strcmp(text, "default") == 0)
		return give(json_null(), ret, err);
	return value_integer(text, ret, err);
}

int value_count(const char *text, json_t **ret, struct err *err)
{
	json_int_t n;

	if (parse_integer(text, &n) < 0 || n < 1)
		return err_set(err, EINVAL, NULL, "'%.64s' is not a number from 1 up", text);
	return give(json_integer(n), ret, err);
}

int value_seconds(const char *text, json_t **ret, struct err *err)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !isfinite(s) || s < 0.01 || s > 86400)
		return err_set(err, EINVAL, NULL, "'%.64s' is not a time in seconds (0.01 to 86400)", text);
	return give(json_real(s), ret, err);
}

static int one_of(const char *text, const char *const words[], json_t **ret, struct err *err)
{
	char all[128] = "";
	size_t n = 0;

	for (const char *const *w = words; *w; w++) {
		if (strcmp(*w, text) == 0)
			return give(json_string(*w), ret, err);
		n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", n ? ", " : "", *w);
	}
	return err_set(err, EINVAL, NULL, "'%.64s' is not one of: %s", text, all);
}

int value_on_off(const char *text, json_t **ret, struct err *err)
{
	json_t *word;
	int r = one_of(text, words_on_off, &word, err);

	if (r < 0)
		return r;
	*ret = json_boolean(strcmp(json_string_value(word), "on") == 0);
	json_decref(word);
	return 0;
}

int value_color(const char *text, json_t **ret, struct err *err)
{
	return one_of(text, words_color, ret, err);
}

int value_shell(const char *text, json_t **ret, struct err *err)
{
	return one_of(text, words_shell, ret, err);
}

int value_function(const char *text, json_t **ret, struct err *err)
{
	json_int_t n;

	if (strcmp(text, "pf") == 0)
		return give(json_null(), ret, err);
	if (parse_integer(text, &n) < 0)
		return err_set(err, EINVAL, NULL, "'%.64s' is neither the number of a VF nor 'pf'", text);
	return give(json_integer(n), ret, err);
}

int value_mac(const char *text, json_t **ret, struct err *err)
{
	return give(json_string(strcmp(text, "none") == 0 ? "00:00:00:00:00:00" : text), ret, err);
}

int value_path_or_none(const char *text, json_t **ret, struct err *err)
{
	_cleanup_free_ char *cwd = NULL;

	if (strcmp(text, "none") == 0 || !*text)
		return give(json_null(), ret, err);
	if (*text == '/')
		return give(json_string(text), ret, err);
	/* vpfd has another working directory. */
	cwd = getcwd(NULL, 0);
	if (!cwd)
		return err_set(err, errno, NULL, "cannot tell the current directory: %s", strerror(errno));
	return give(json_sprintf("%s/%s", cwd, text), ret, err);
}

int value_uplink(const char *text, json_t **ret, struct err *err)
{
	const char *colon = strchr(text, ':');

	if (!colon && strcmp(text, "none") == 0)
		return give(json_pack("{ss}", "type", "none"), ret, err);
	if (!colon || colon == text || !colon[1])
		return err_set(err, EINVAL, NULL,
			       "'%.64s' is not an uplink: write none, tap:NAME or netdev:NAME", text);
	return give(json_pack("{ss%ss}", "type", text, (size_t)(colon - text), "name", colon + 1), ret, err);
}

int value_datapaths(const char *text, json_t **ret, struct err *err)
{
	struct datapath_list list;
	int r;

	if (strcmp(text, "default") == 0)
		return give(json_null(), ret, err);
	r = datapath_list_parse(text, &list, err);
	if (!r && !list.n)
		r = err_set(err, EINVAL, NULL,
			    "'' is no list of datapaths: write such as vhost-net,builtin, or default");
	if (r < 0) {
		if (err)
			err->field[0] = '\0';
		return r;
	}
	return give(datapath_list_to_json(&list), ret, err);
}

int value_vlan(const char *text, json_t **ret, struct err *err)
{
	_cleanup_free_ char *copy = NULL;
	char *pcp, *proto = NULL;
	json_int_t vid, priority = 0;

	if (strcmp(text, "none") == 0)
		return give(json_pack("{ss}", "mode", "none"), ret, err);

	copy = strdup(text);
	if (!copy)
		return err_set(err, ENOMEM, NULL, "out of memory");
	pcp = strchr(copy, ':');
	if (pcp) {
		*pcp++ = '\0';
		proto = strchr(pcp, ':');
		if (proto)
			*proto++ = '\0';
	}
	if (parse_integer(copy, &vid) < 0 || (pcp && parse_integer(pcp, &priority) < 0) || (proto && !*proto))
		return err_set(err, EINVAL, NULL,
			       "'%.64s' is not a VLAN: write none, VID, VID:PCP or VID:PCP:802.1ad", text);
	return give(json_pack("{ss sI so* ss*}", "mode", "access", "vid", vid, "pcp",
			      pcp ? json_integer(priority) : NULL, "proto", proto),
		    ret, err);
}

int value_trunk(const char *text, json_t **ret, struct err *err)
{
	return give(json_pack("{ssss}", "mode", "trunk", "vids", text), ret, err);
}

int value_name_or_default(const char *text, json_t **ret, struct err *err)
{
	return give(strcmp(text, "default") == 0 ? json_null() : json_string(text), ret, err);
}

int value_rate(const char *text, json_t **ret, struct err *err)
{
	json_int_t n;

	if (strcmp(text, "none") == 0)
		return give(json_integer(0), ret, err);
	if (parse_integer(text, &n) < 0)
		return err_set(err, EINVAL, NULL, "'%.64s' is neither a number of Mb/s nor 'none'", text);
	return give(json_integer(n), ret, err);
}

int value_pinned(const char *text, json_t **ret, struct err *err)
{
	_cleanup_free_ char *copy = strdup(text);
	json_t *list = json_array();
	char *rest = copy;

	if (!copy || !list) {
		json_decref(list);
		return err_set(err, ENOMEM, NULL, "out of memory");
	}
	if (strcmp(text, "all") == 0)
		for (const char *const *w = pinned_choices; *w; w++)
			json_array_append_new(list, json_string(*w));
	else if (strcmp(text, "none") != 0)
		while (rest)
			/* NULL, if it is not UTF-8, is not appended. */
			if (json_array_append_new(list, json_string(strsep(&rest, ","))) < 0) {
				json_decref(list);
				return err_set(err, EINVAL, NULL, "the text is not UTF-8");
			}
	*ret = list;
	return 0;
}

/* NULL: one that only a newer vpfd knows. */
static const struct json_field *policy_key(const char *name)
{
	for (const struct json_field *row = policy_fields; row->name; row++)
		if (strcmp(row->name, name) == 0)
			return row;
	return NULL;
}

static bool is_vlans(const struct json_field *key)
{
	return key && key->field->kind == &field_vlan_set;
}

static bool is_list(const struct json_field *key)
{
	return key && key->kind == JSON_KIND_ARRAY;
}

/* An invalid value is passed on unchanged: vpfd knows what is valid. NULL: not UTF-8. */
static json_t *policy_value(const struct json_field *key, const char *text)
{
	json_int_t n;

	if (is_vlans(key))
		return json_string(strcmp(text, "none") == 0  ? ""
				   : strcmp(text, "all") == 0 ? "1-4094"
							      : text);
	if (is_list(key))
		return strcmp(text, "none") == 0 ? json_array() : json_pack("[s]", text);
	if (key && key->field->zero && strcmp(text, key->field->zero) == 0)
		return json_integer(0);
	if (strcmp(text, "on") == 0 || strcmp(text, "off") == 0)
		return json_boolean(text[1] == 'n');
	if (parse_integer(text, &n) == 0)
		return json_integer(n);
	return json_string(text);
}

/* One more item of a list: "vlans=1,2" is one value, though the comma otherwise begins the next key. */
static json_t *policy_more(const struct json_field *key, const json_t *held, const char *text)
{
	json_t *list;

	if (is_vlans(key))
		return json_sprintf("%s,%s", json_string_value(held), text);
	list = json_copy((json_t *)held);
	if (json_array_append_new(list, json_string(text)) == 0)
		return list;
	json_decref(list);
	return NULL;
}

/* `key`: that of the item before, and then of this one; NULL: unknown. */
static int policy_item(json_t *policy, char *item, const struct json_field **key, struct err *err)
{
	bool list = is_vlans(*key) || is_list(*key);
	char *equals = strchr(item, '=');
	const char *name = item;
	json_t *value;

	if (!equals && *item && list) {
		name = (*key)->name;
		value = policy_more(*key, json_object_get(policy, name), item);
	} else {
		if (!equals || equals == item || !equals[1])
			return err_set(err, EINVAL, NULL,
				       "'%.64s' is not KEY=VALUE, as in vlans=10-20,30,trust=on", item);
		*equals = '\0';
		if (json_object_get(policy, item))
			return err_set(err, EINVAL, NULL, "'%.64s' is given twice", item);
		*key = policy_key(item);
		value = policy_value(*key, equals + 1);
	}
	if (json_object_set_new(policy, name, value) < 0)
		return err_set(err, EINVAL, NULL, "the text is not UTF-8");
	return 0;
}

int value_policy(const char *text, json_t **ret, struct err *err)
{
	_cleanup_free_ char *copy = strdup(text);
	const struct json_field *key = NULL;
	json_t *policy = json_object();
	char *rest = copy;

	if (!copy || !policy) {
		json_decref(policy);
		return err_set(err, ENOMEM, NULL, "out of memory");
	}
	while (rest) {
		int r = policy_item(policy, strsep(&rest, ","), &key, err);

		if (r < 0) {
			json_decref(policy);
			return r;
		}
	}
	*ret = policy;
	return 0;
}
