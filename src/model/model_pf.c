/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "model/model_private.h"
#include "model/policy.h"
#include "settings/json_build.h"
#include "settings/mac.h"
#include "settings/pf_fields.h"
#include "settings/validate.h"

/* What functions have from their PF. */
static void inherit(struct model_pf *pf)
{
	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++) {
		mac_add(pf->mac, fn, pf->fn[fn].s.mac);
		if (!pf->fn[fn].s.own_mtu)
			pf->fn[fn].s.mtu = pf->s.mtu;
	}
}

int model_pf_object_new(struct model *m, const struct pf_settings *s, const uint8_t mac[6],
			struct model_fabric *fabric, struct model_pf **ret, struct err *err)
{
	struct model_pf *pf = calloc(1, sizeof(*pf));
	int r;

	if (!pf)
		return err_set(err, ENOMEM, NULL, "out of memory");
	pf->fn = calloc(s->vfs + 1, sizeof(*pf->fn));
	r = pf->fn ? model_vm_get(m, s->vm, &pf->vm, err) : err_set(err, ENOMEM, NULL, "out of memory");
	if (r < 0) {
		free(pf->fn);
		free(pf);
		return r;
	}
	pf->s = *s;
	memcpy(pf->mac, mac, 6);
	pf->fabric = fabric;
	for (unsigned int fn = 0; fn <= s->vfs; fn++) {
		function_settings_init(&pf->fn[fn].s);
		pf->fn[fn].s.spoofchk = s->spoofchk;
	}
	if (!pf->s.datapaths.n)
		datapath_list_init(&pf->s.datapaths, fabric->s.type);
	inherit(pf);
	*ret = pf;
	return 0;
}

void model_pf_object_free(struct model *m, struct model_pf *pf)
{
	if (!pf)
		return;
	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++)
		free(pf->fn[fn].saved);
	free(pf->fn);
	free(pf);
	model_vms_tidy(m);
}

void model_pf_insert(struct model *m, struct model_pf *pf, unsigned int at)
{
	assert(m->pfs_n < VPF_MAX_PFS);
	memmove(&m->pfs[at + 1], &m->pfs[at], (m->pfs_n - at) * sizeof(m->pfs[0]));
	m->pfs[at] = pf;
	m->pfs_n++;
	pf->fabric->pfs++;
	pf->vm->pfs++;
}

/* Returns where it was. */
static unsigned int pf_take_out(struct model *m, struct model_pf *pf)
{
	unsigned int at = 0;

	while (m->pfs[at] != pf)
		at++;
	m->pfs_n--;
	memmove(&m->pfs[at], &m->pfs[at + 1], (m->pfs_n - at) * sizeof(m->pfs[0]));
	m->pfs[m->pfs_n] = NULL;
	pf->fabric->pfs--;
	pf->vm->pfs--;
	return at;
}

int model_pf_check(const struct model *m, const struct pf_settings *s, struct err *err)
{
	struct sockaddr_un un;
	size_t length;

	if (model_lookup_pf(m, s->name))
		return err_set(err, EEXIST, "name", "there is already a virtual PF %s: choose another name",
			       s->name);
	if (m->pfs_n == VPF_MAX_PFS)
		return err_set(err, ENOSPC, "name", "there are already %d virtual PFs, the most there can be",
			       VPF_MAX_PFS);
	length = strlen(m->run_dir) + strlen(s->name) + strlen("//vf254.sock");
	if (length >= sizeof(un.sun_path))
		return err_set(
			err, ENAMETOOLONG, "name",
			"the paths of its sockets in %s would have %zu characters, and the kernel takes %zu: choose a shorter name or --run-dir",
			m->run_dir, length, sizeof(un.sun_path) - 1);
	return 0;
}

static int make_dir(const struct model *m, const char *pf, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;

	if (asprintf(&path, "%s/%s", m->run_dir, pf) < 0) {
		path = NULL;
		return err_set(err, ENOMEM, NULL, "out of memory");
	}
	if (!mkdir(path, 0755)) {
		/* The sockets have modes of their own; QEMU's user must get at them whatever the umask. The
		 * mode of a directory that existed before is the administrator's choice. */
		if (chmod(path, 0755) < 0)
			return err_set(err, errno, NULL, "cannot set the mode of %s: %s", path,
				       strerror(errno));
		return 0;
	}
	if (errno != EEXIST)
		return err_set(err, errno, NULL, "cannot create the directory %s: %s", path, strerror(errno));
	if (lstat(path, &st) < 0)
		return err_set(err, errno, NULL, "cannot use the directory %s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(err, EEXIST, "name", "%s is in the way: choose another name, or remove it",
			       path);
	return 0;
}

void model_pf_remove_dir(const struct model *m, const char *pf)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/%s", m->run_dir, pf) < 0) {
		path = NULL;
		return;
	}
	model_key_remove(m, pf);
	/* Only the run directory's tidiness is at stake: foreign files in there stay. */
	rmdir(path);
}

int model_pf_apply(struct model *m, const struct model_pf *pf, struct err *err)
{
	unsigned int fn = 0;
	int r;

	r = make_dir(m, pf->s.name, err);
	if (r < 0)
		return r;
	r = model_key_write(m, pf->s.name, pf->vm, err);
	if (r < 0)
		goto undo;
	for (; fn <= pf->s.vfs; fn++) {
		struct function_settings s = model_function_effective(pf, fn);
		struct function_offer offer = model_datapath_offer(m, pf, &s);
		char path[108];

		model_function_path(m, pf->s.name, fn, path);
		r = m->ops->function_add(m->dp, &pf->s, fn, &s, &offer, path, err);
		if (r < 0)
			goto undo;
	}
	return 0;
undo:
	while (fn-- > 0)
		m->ops->function_del(m->dp, pf->s.name, fn);
	model_pf_remove_dir(m, pf->s.name);
	return r;
}

static void pf_unapply(struct model *m, const struct model_pf *pf)
{
	for (unsigned int fn = pf->s.vfs + 1; fn-- > 0;)
		m->ops->function_del(m->dp, pf->s.name, fn);
	model_pf_remove_dir(m, pf->s.name);
}

int model_pf_add(struct model *m, const struct pf_settings *s, const uint8_t *mac, struct err *err)
{
	struct model_fabric *fabric = NULL;
	struct model_pf *pf = NULL;
	char text[MAC_TEXT_MAX];
	uint8_t chosen[6];
	int r;

	r = validate_pf(s, mac, err);
	if (r < 0)
		return r;
	r = model_pf_check(m, s, err);
	if (r < 0)
		return r;
	r = model_need_fabric(m, s->fabric, "fabric", &fabric, err);
	if (r < 0)
		return r;
	if (mac) {
		memcpy(chosen, mac, 6);
		r = model_mac_check_pf(m, fabric, mac, s->vfs, NULL, err);
	} else {
		r = model_mac_generate(m, s->name, s->vfs, chosen, err);
	}
	if (r < 0)
		return r;
	r = model_pf_object_new(m, s, chosen, fabric, &pf, err);
	if (r < 0)
		return r;
	r = model_datapath_check_pf(m, &pf->s, fabric, NULL, pf->fn, err);
	if (r < 0)
		goto free_object;

	r = model_pf_apply(m, pf, err);
	if (r < 0)
		goto free_object;
	model_pf_insert(m, pf, m->pfs_n);
	r = model_save(m, err);
	if (r < 0)
		goto take_back;
	model_reportf(m, EVENT_PF_ADDED, LOG_LVL_NOTICE, s->fabric, s->name, -1, NULL,
		      "virtual PF added with %u VF%s, MAC %s", s->vfs, s->vfs == 1 ? "" : "s",
		      mac_format(chosen, text));
	return 0;

take_back:
	pf_take_out(m, pf);
	pf_unapply(m, pf);
free_object:
	model_pf_object_free(m, pf);
	return r;
}

/* What is checked before a virtual PF changes. */
static int pf_set_check(const struct model *m, const struct model_pf *pf, const struct pf_settings *s,
			const uint8_t *mac, struct err *err)
{
	bool new_mac = mac && memcmp(mac, pf->mac, 6) != 0, new_vm = strcmp(s->vm, pf->s.vm) != 0;
	unsigned int connected;
	int r;

	r = validate_pf(s, mac, err);
	if (r < 0)
		return r;
	if (strcmp(s->fabric, pf->s.fabric))
		return err_set(err, EINVAL, "fabric",
			       "cannot be changed: delete the virtual PF and add it again");
	if (s->vfs != pf->s.vfs || s->queue_pairs != pf->s.queue_pairs)
		return err_set(err, EINVAL, s->vfs != pf->s.vfs ? "vfs" : "queue_pairs",
			       "cannot be changed: delete the virtual PF and add it again");
	r = policy_check_minimums(&s->policy, model_sum_minimums(pf, -1), "policy.max_rate_total", err);
	if (r < 0)
		return r;
	r = model_datapath_check_pf(m, s, pf->fabric, pf, pf->fn, err);
	if (r < 0)
		return r;
	if (new_mac)
		r = model_mac_check_pf(m, pf->fabric, mac, s->vfs, pf, err);
	if (r < 0 || !(new_mac || new_vm))
		return r;
	connected = model_pf_connected(m, pf);
	if (connected)
		return err_set(
			err, EBUSY, new_mac ? "mac" : "vm",
			"%u functions of %s are connected, and QEMU has told the guest %s: stop the VM first",
			connected, s->name, new_mac ? "their MACs" : "the VM's key");
	return 0;
}

/* What model_pf_set() changes. */
struct pf_state {
	struct pf_settings s;
	uint8_t mac[6];
	struct model_vm *vm;
};

static void pf_put(struct model_pf *pf, const struct pf_state *state)
{
	pf->s = state->s;
	memcpy(pf->mac, state->mac, sizeof(pf->mac));
	pf->vm->pfs--;
	pf->vm = state->vm;
	pf->vm->pfs++;
	inherit(pf);
}

static bool pf_state_equal(const struct pf_state *a, const struct pf_state *b)
{
	return fields_equal(pf_fields, &a->s, &b->s) && !memcmp(a->mac, b->mac, sizeof(a->mac));
}

static json_t *pf_difference(const struct pf_state *before, const struct pf_state *after)
{
	json_t *changed = fields_difference(pf_fields, &before->s, &after->s);
	char mac[MAC_TEXT_MAX];

	if (memcmp(before->mac, after->mac, sizeof(after->mac)) != 0)
		json_put(&changed, "mac", json_string(mac_format(after->mac, mac)));
	return changed;
}

/* In memory, in the key file and on disk, or not at all. */
static int pf_save(struct model *m, struct model_pf *pf, const struct pf_state *before,
		   struct pf_state *after, struct err *err)
{
	bool new_vm;
	int r;

	r = model_vm_get(m, after->s.vm, &after->vm, err);
	if (r < 0)
		return r;
	new_vm = after->vm != before->vm;
	if (new_vm)
		r = model_key_write(m, pf->s.name, after->vm, err);
	if (!r) {
		pf_put(pf, after);
		r = model_save(m, err);
		if (r < 0)
			pf_put(pf, before);
		if (r < 0 && new_vm)
			model_key_write(m, pf->s.name, before->vm, NULL);
	}
	model_vms_tidy(m);
	return r;
}

/* What cannot fail. Lists and what they have to enforce may be others. */
static void pf_carry_out(struct model *m, struct model_pf *pf, const struct pf_settings *old)
{
	bool refused = false;

	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++) {
		struct datapath_list was = model_list_in_force(old, pf->fabric, fn, &pf->fn[fn].s);
		struct datapath_list is = model_list_in_force(&pf->s, pf->fabric, fn, &pf->fn[fn].s);

		refused |= pf->fn[fn].refused != 0;
		if (!datapath_list_equal(&was, &is))
			model_datapath_new_list(pf, fn);
	}
	if (refused)
		model_datapath_refused(m, pf, -1);
	model_functions_apply(m, pf);
}

int model_pf_set(struct model *m, const struct pf_settings *wanted, const uint8_t *mac, struct err *err)
{
	struct pf_state before, after = {.s = *wanted};
	struct model_pf *pf = NULL;
	int r;

	r = model_need_pf(m, wanted->name, "name", &pf, err);
	if (r < 0)
		return r;
	before = (struct pf_state){.s = pf->s, .vm = pf->vm};
	memcpy(before.mac, pf->mac, sizeof(before.mac));
	memcpy(after.mac, mac ? mac : pf->mac, sizeof(after.mac));
	if (!after.s.datapaths.n)
		datapath_list_init(&after.s.datapaths, pf->fabric->s.type);
	r = pf_set_check(m, pf, &after.s, mac, err);
	if (r < 0)
		return r;
	if (pf_state_equal(&before, &after))
		return 0;
	r = pf_save(m, pf, &before, &after, err);
	if (r < 0)
		return r;
	pf_carry_out(m, pf, &before.s);
	model_reportf(m, EVENT_PF_CHANGED, LOG_LVL_NOTICE, NULL, pf->s.name, -1,
		      model_changed_detail(pf_difference(&before, &after)), "virtual PF changed");
	return 0;
}

int model_pf_del(struct model *m, const char *name, struct err *err)
{
	unsigned int connected, at;
	struct model_pf *pf = NULL;
	int r;

	r = model_need_pf(m, name, "name", &pf, err);
	if (r < 0)
		return r;
	connected = model_pf_connected(m, pf);
	if (connected)
		return err_set(err, EBUSY, "name",
			       "%u function%s of %s %s connected: stop the VM or detach the virtual PF first",
			       connected, connected > 1 ? "s" : "", pf->s.name, connected > 1 ? "are" : "is");
	at = pf_take_out(m, pf);
	r = model_save(m, err);
	if (r < 0) {
		model_pf_insert(m, pf, at);
		return r;
	}
	pf_unapply(m, pf);
	model_reportf(m, EVENT_PF_DELETED, LOG_LVL_NOTICE, pf->s.fabric, pf->s.name, -1, NULL,
		      "virtual PF deleted");
	model_pf_object_free(m, pf);
	return 0;
}
