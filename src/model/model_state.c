/* SPDX-License-Identifier: Apache-2.0 */

/* The model as the root object of the state file, version 3:
 *
 *	{"format": "vpf-state", "version": 3,
 *	 "fabrics": [{"name", "type", "bridge", "uplink", "learning", "ageing", "max_learned"}],
 *	 "vms": [{"name", "key": 32 hexadecimal digits}],
 *	 "pfs": [{"name", "fabric", "vfs", "queue_pairs", "mac", "mtu", "vm", "qmp", "datapaths", "failback",
 *		  "policy",
 *		  "functions": [{"vf": null | 0…, "mac", "vlan", "spoofchk", "trust", "link", "mtu",
 *				 "min_rate", "max_rate", "pinned", "datapaths"}]}]}
 *
 * What older files do not have is the default: those of version 2 no fabrics but builtin and no datapaths;
 * those of version 1, besides, no "vms" and "vm" (new keys are made) and of the policy the drivers' part
 * only. Members mean what they mean in the API. "functions" has those with settings other than the defaults,
 * and of each only what differs: most functions of most machines need no line. Reading checks as much as the
 * API does, but for what depends on the host's state, such as devices that may be back in a moment
 * (model_datapath.c); and anything unknown is an error: a state that is understood in part would be lost in
 * part with the next save. */

#include <stdio.h>
#include <string.h>

#include "model/model_private.h"
#include "model/policy.h"
#include "settings/fabric_json.h"
#include "settings/function_fields.h"
#include "settings/json_build.h"
#include "settings/mac.h"
#include "settings/pf_fields.h"
#include "settings/validate.h"
#include "util/buffer.h"
#include "vhost/vhost_user.h"

#define KEY_DIGITS (2 * MODEL_KEY_LEN)

static const struct json_field fabric_rows[] = {
	{.name = "name", .kind = JSON_KIND_STRING, .flags = JSON_REQUIRED, .max = VPF_NAME_MAX - 1},
	FABRIC_SETTINGS_FIELDS,
	{0},
};

static const struct json_field function_rows[] = {
	{.name = "vf", .kind = JSON_KIND_INT, .flags = JSON_REQUIRED | JSON_NULLABLE, .max = VPF_MAX_VFS - 1},
	FUNCTION_SETTINGS_FIELDS,
	{0},
};

static const struct json_field pf_rows[] = {
	{.name = "name", .kind = JSON_KIND_STRING, .flags = JSON_REQUIRED, .max = VPF_NAME_MAX - 1},
	{.name = "fabric", .kind = JSON_KIND_STRING, .flags = JSON_REQUIRED, .max = VPF_NAME_MAX - 1},
	{.name = "vfs", .kind = JSON_KIND_INT, .flags = JSON_REQUIRED, .max = VPF_MAX_VFS},
	{.name = "queue_pairs",
	 .kind = JSON_KIND_INT,
	 .flags = JSON_REQUIRED,
	 .min = 1,
	 .max = VHOST_USER_MAX_QUEUE_PAIRS},
	PF_SETTINGS_FIELDS,
	{.name = "functions", .kind = JSON_KIND_ARRAY, .max = VPF_MAX_FUNCTIONS, .fields = function_rows},
	{0},
};

static const struct json_field vm_rows[] = {
	{.name = "name", .kind = JSON_KIND_STRING, .flags = JSON_REQUIRED, .max = VPF_NAME_MAX - 1},
	{.name = "key",
	 .kind = JSON_KIND_STRING,
	 .flags = JSON_REQUIRED,
	 .min = KEY_DIGITS,
	 .max = KEY_DIGITS},
	{0},
};

static const struct json_field root_rows[] = {
	{.name = "format", .kind = JSON_KIND_STRING, .flags = JSON_REQUIRED},
	{.name = "version", .kind = JSON_KIND_INT, .flags = JSON_REQUIRED, .min = 1, .max = STATE_VERSION},
	{.name = "fabrics",
	 .kind = JSON_KIND_ARRAY,
	 .flags = JSON_REQUIRED,
	 .max = VPF_MAX_FABRICS,
	 .fields = fabric_rows},
	{.name = "vms", .kind = JSON_KIND_ARRAY, .max = VPF_MAX_PFS, .fields = vm_rows},
	{.name = "pfs",
	 .kind = JSON_KIND_ARRAY,
	 .flags = JSON_REQUIRED,
	 .max = VPF_MAX_PFS,
	 .fields = pf_rows},
	{0},
};

/* The text of a JSON value that is given away, NULL: out of memory. */
static char *text_of(json_t *o)
{
	char *text = json_text(o, 0);

	json_decref(o);
	return text;
}

/* The settings that are not the defaults; NULL: out of memory. */
static json_t *function_state_json(const struct model_function *f)
{
	struct function_settings defaults;

	function_settings_init(&defaults);
	return fields_difference(function_fields, &defaults, &f->s);
}

/* The function's line, empty if all settings are the defaults. */
static char *function_text(const struct model_function *f, unsigned int fn)
{
	json_t *settings = function_state_json(f), *line;

	if (settings && !json_object_size(settings)) {
		json_decref(settings);
		return strdup("");
	}
	line = json_pack("{s:o}", "vf", fn == VPF_FUNCTION_PF ? json_null() : json_integer(fn - 1));
	json_join(&line, settings);
	return text_of(line);
}

static int append_text(struct buffer *b, const char *text)
{
	return text ? buffer_append(b, text, strlen(text)) : -ENOMEM;
}

/* What a function's line says changes with its settings only, and is kept until then: with a thousand
 * functions, making all lines again for each change would take longer than the disk does. */
static int append_function(struct buffer *b, struct model_function *f, unsigned int fn, bool *first)
{
	int r;

	if (!f->saved)
		f->saved = function_text(f, fn);
	if (!f->saved)
		return -ENOMEM;
	if (!f->saved[0])
		return 0;
	r = append_text(b, *first ? "\n  " : ",\n  ");
	*first = false;
	return r < 0 ? r : append_text(b, f->saved);
}

/* All of the virtual PF but its functions. */
static json_t *pf_state_json(const struct model_pf *pf)
{
	char mac[MAC_TEXT_MAX];
	json_t *o;

	o = json_pack("{s:s, s:s, s:I, s:I, s:s}", "name", pf->s.name, "fabric", pf->s.fabric, "vfs",
		      (json_int_t)pf->s.vfs, "queue_pairs", (json_int_t)pf->s.queue_pairs, "mac",
		      mac_format(pf->mac, mac));
	json_join(&o, fields_json(pf_fields, &pf->s));
	return o;
}

static int append_pf(struct buffer *b, struct model_pf *pf)
{
	_cleanup_free_ char *head = text_of(pf_state_json(pf));
	bool first = true;
	int r;

	if (!head)
		return -ENOMEM;
	head[strlen(head) - 1] = '\0'; /* the closing brace comes after the functions */
	r = append_text(b, head);
	if (!r)
		r = append_text(b, ", \"functions\": [");
	for (unsigned int fn = 0; !r && fn <= pf->s.vfs; fn++)
		r = append_function(b, &pf->fn[fn], fn, &first);
	return r < 0 ? r : append_text(b, "]}");
}

static int append_vms(const struct model *m, struct buffer *b)
{
	bool first = true;
	int r = append_text(b, "],\n\"vms\": [");

	for (unsigned int i = 0; !r && i < m->vms_n; i++) {
		const struct model_vm *vm = m->vms[i];
		char key[KEY_DIGITS + 1];
		_cleanup_free_ char *text = NULL;

		if (!vm->pfs)
			continue;
		text = text_of(
			json_pack("{s:s, s:s}", "name", vm->name, "key", model_vm_key_text(vm->key, key)));
		r = append_text(b, first ? "\n " : ",\n ");
		first = false;
		if (!r)
			r = append_text(b, text);
	}
	return r;
}

static int append_all(const struct model *m, struct buffer *b)
{
	char head[128];
	int r;

	snprintf(head, sizeof(head), "{\"format\": \"%s\", \"version\": %d,\n\"fabrics\": [", STATE_FORMAT,
		 STATE_VERSION);
	r = append_text(b, head);
	for (unsigned int i = 0; !r && model_fabric_at(m, i); i++) {
		_cleanup_free_ char *text = text_of(fabric_settings_json(&model_fabric_at(m, i)->s));

		r = append_text(b, i ? ",\n " : "\n ");
		if (!r)
			r = append_text(b, text);
	}
	if (!r)
		r = append_vms(m, b);
	if (!r)
		r = append_text(b, "],\n\"pfs\": [");
	for (unsigned int i = 0; !r && i < m->pfs_n; i++) {
		r = append_text(b, i ? ",\n " : "\n ");
		if (!r)
			r = append_pf(b, m->pfs[i]);
	}
	return r < 0 ? r : append_text(b, "]}\n");
}

int model_save(struct model *m, struct err *err)
{
	struct buffer b = {0};
	int r = append_all(m, &b);

	if (r < 0)
		err_set(err, -r, NULL, "state not saved, nothing was changed: out of memory");
	else
		r = state_store_save(m->store, buffer_data(&b), buffer_size(&b), err);
	buffer_free(&b);
	return r;
}

/* Where in the file the error is goes before what it is. */
static int in_file(const struct model *m, const char *array, size_t i, const struct err *why, struct err *err)
{
	return err_set(err, EBADMSG, NULL, "%s cannot be used: %s[%zu]%s%s: %s", state_store_path(m->store),
		       array, i, why->field[0] ? "." : "", why->field, why->text);
}

static int read_fabric(struct model *m, const json_t *o, struct err *err)
{
	struct fabric_settings s;
	struct model_fabric *f;
	int r;

	fabric_settings_init(&s, json_string_value(json_object_get(o, "name")));
	r = fabric_settings_read(o, &s, err);
	if (r < 0)
		return r;
	r = model_fabric_check(m, &s, NULL, err);
	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(err, ENOMEM, NULL, "out of memory");
	f->s = s;
	m->fabrics[m->fabrics_n++] = f;
	return 0;
}

static int read_functions(struct model_pf *pf, const json_t *list, struct err *err)
{
	bool seen[VPF_MAX_FUNCTIONS] = {false};
	size_t i;
	json_t *o;

	json_array_foreach (list, i, o) {
		const json_t *vf = json_object_get(o, "vf");
		unsigned int fn = json_is_null(vf) ? VPF_FUNCTION_PF
						   : VPF_FUNCTION_VF((unsigned int)json_integer_value(vf));
		struct model_function *f;
		int r;

		if (fn > pf->s.vfs || seen[fn])
			return err_set(err, EINVAL, "functions", "has %s function at index %zu",
				       fn > pf->s.vfs ? "no such" : "one more entry for the", i);
		seen[fn] = true;
		f = &pf->fn[fn];
		r = function_settings_read(o, &f->s, err);
		if (r < 0)
			return r;
		r = validate_function(&f->s, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_pf(struct model *m, const json_t *o, struct err *err)
{
	struct model_fabric *fabric = NULL;
	struct model_pf *pf = NULL;
	struct pf_settings s;
	bool has_mac = false;
	uint8_t mac[6];
	int r;

	pf_settings_init(&s, json_string_value(json_object_get(o, "name")));
	snprintf(s.fabric, sizeof(s.fabric), "%s", json_string_value(json_object_get(o, "fabric")));
	s.vfs = (uint32_t)json_integer_value(json_object_get(o, "vfs"));
	s.queue_pairs = (uint32_t)json_integer_value(json_object_get(o, "queue_pairs"));
	r = pf_settings_read(o, &s, mac, &has_mac, err);
	if (r < 0)
		return r;
	if (!has_mac)
		return err_set(err, EINVAL, "mac", "is missing");
	r = validate_pf(&s, mac, err);
	if (r < 0)
		return r;
	r = model_pf_check(m, &s, err);
	if (r < 0)
		return r;
	r = model_need_fabric(m, s.fabric, "fabric", &fabric, err);
	if (r < 0)
		return r;
	r = model_mac_check_pf(m, fabric, mac, s.vfs, NULL, err);
	if (r < 0)
		return r;
	r = model_pf_object_new(m, &s, mac, fabric, &pf, err);
	if (r < 0)
		return r;
	r = read_functions(pf, json_object_get(o, "functions"), err);
	if (!r)
		r = policy_check_minimums(&s.policy, model_sum_minimums(pf, -1), "policy.max_rate_total",
					  err);
	if (r < 0) {
		model_pf_object_free(m, pf);
		return r;
	}
	model_pf_insert(m, pf, m->pfs_n);
	return 0;
}

static int read_vm(struct model *m, const json_t *o, struct err *err)
{
	const char *name = json_string_value(json_object_get(o, "name"));
	uint8_t key[MODEL_KEY_LEN];
	struct model_vm *vm;
	int r;

	r = validate_name(name, "name", err);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < m->vms_n; i++)
		if (!strcmp(m->vms[i]->name, name))
			return err_set(err, EEXIST, "name", "is that of an earlier one, too");
	if (!model_vm_key_parse(json_string_value(json_object_get(o, "key")), key))
		return err_set(err, EINVAL, "key", "must be %d hexadecimal digits", KEY_DIGITS);
	r = model_vm_new(m, name, key, &vm, err);
	explicit_bzero(key, sizeof(key));
	return r;
}

int model_read_state(struct model *m, bool *ret_changed, struct err *err)
{
	struct err why = {0};
	json_t *root = NULL, *o;
	unsigned int known;
	size_t i;
	int r;

	r = state_store_load(m->store, &root, err);
	if (r < 0 || !root)
		return r;
	r = json_fields_check(root, root_rows, "", &why);
	if (r < 0) {
		r = err_set(err, EBADMSG, NULL, "%s cannot be used: %s: %s", state_store_path(m->store),
			    why.field, why.text);
		goto out;
	}
	json_array_foreach (json_object_get(root, "fabrics"), i, o) {
		r = read_fabric(m, o, &why);
		if (r < 0) {
			r = in_file(m, "fabrics", i, &why, err);
			goto out;
		}
	}
	json_array_foreach (json_object_get(root, "vms"), i, o) {
		r = read_vm(m, o, &why);
		if (r < 0) {
			r = in_file(m, "vms", i, &why, err);
			goto out;
		}
	}
	known = m->vms_n;
	json_array_foreach (json_object_get(root, "pfs"), i, o) {
		r = read_pf(m, o, &why);
		if (r < 0) {
			r = in_file(m, "pfs", i, &why, err);
			goto out;
		}
	}
	r = model_mac_check_all(m, &why);
	if (r < 0)
		r = err_set(err, EBADMSG, NULL, "%s cannot be used: %s", state_store_path(m->store),
			    why.text);
	*ret_changed = m->vms_n > known;
	model_vms_tidy(m);
out:
	json_decref(root);
	return r;
}
