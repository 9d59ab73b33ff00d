/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "model/model_change.h"
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
	pf->model = m;
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
		struct function_settings s = model_function_effective(pf, fn, &pf->fn[fn]);
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

/* A virtual PF in the making: a change of its fabric. */
struct pf_add {
	struct model_change base;
	struct model_fabric *fabric;
	struct pf_settings s;
	bool has_mac;
	uint8_t mac[6];
	struct model_pf *pf; /* NULL: not made yet, or part of the model */
};

static struct pf_add *add_of(struct model_change *c)
{
	return container_of(c, struct pf_add, base);
}

static int check_new(struct model *m, const struct pf_add *a, struct err *err)
{
	int r = model_pf_check(m, &a->s, err);

	if (!r && a->has_mac)
		r = model_mac_check_pf(m, a->fabric, a->mac, a->s.vfs, NULL, err);
	return r;
}

/* What other fabrics' virtual PFs have become meanwhile may stand against it. */
static int add_commit(struct model_change *c, struct err *err)
{
	struct pf_add *a = add_of(c);
	struct model *m = c->m;
	struct model_pf *pf = a->pf;
	char text[MAC_TEXT_MAX];
	int r = check_new(m, a, err);

	if (!r)
		r = model_datapath_check_pf(m, &pf->s, a->fabric, NULL, pf->fn, err);
	if (!r) /* that of the first step may be gone, since it had no virtual PF */
		r = model_vm_get(m, pf->s.vm, &pf->vm, err);
	if (!r)
		r = model_pf_apply(m, pf, err);
	if (r < 0)
		return r;
	model_pf_insert(m, pf, m->pfs_n);
	r = model_save(m, err);
	if (r < 0) {
		pf_take_out(m, pf);
		pf_unapply(m, pf);
		return r;
	}
	a->pf = NULL;
	model_reportf(m, EVENT_PF_ADDED, LOG_LVL_NOTICE, pf->s.fabric, pf->s.name, -1, NULL,
		      "virtual PF added with %u VF%s, MAC %s", pf->s.vfs, pf->s.vfs == 1 ? "" : "s",
		      mac_format(pf->mac, text));
	return 0;
}

/* A VF, which is as the others. */
static int add_ask_vf(struct model_change *c, struct err *err)
{
	const struct pf_add *a = add_of(c);
	struct answer answer = model_change_answer(c);

	c->step = add_commit;
	return a->s.vfs ? model_function_ask(c->m, a->pf, VPF_FUNCTION_VF(0), &a->pf->fn[VPF_FUNCTION_VF(0)],
					     &answer, err)
			: 0;
}

static int add_begin(struct model_change *c, struct err *err)
{
	struct pf_add *a = add_of(c);
	struct model *m = c->m;
	struct answer answer = model_change_answer(c);
	int r = check_new(m, a, err);

	if (!r && !a->has_mac)
		r = model_mac_generate(m, a->s.name, a->s.vfs, a->mac, err);
	if (!r)
		r = model_pf_object_new(m, &a->s, a->mac, a->fabric, &a->pf, err);
	if (!r)
		r = model_datapath_check_pf(m, &a->pf->s, a->fabric, NULL, a->pf->fn, err);
	if (r < 0)
		return r;
	a->has_mac = true;
	c->step = add_ask_vf;
	return model_function_ask(m, a->pf, VPF_FUNCTION_PF, &a->pf->fn[VPF_FUNCTION_PF], &answer, err);
}

static void add_end(struct model_change *c)
{
	model_pf_object_free(c->m, add_of(c)->pf);
}

int model_pf_add(struct model *m, const struct pf_settings *s, const uint8_t *mac,
		 const struct answer *answer, struct err *err)
{
	static const struct model_change_ops ops = {.begin = add_begin, .end = add_end};
	struct model_fabric *fabric = NULL;
	struct pf_add *a;
	int r;

	r = validate_pf(s, mac, err);
	if (!r)
		r = model_pf_check(m, s, err);
	if (!r)
		r = model_need_fabric(m, s->fabric, "fabric", &fabric, err);
	if (r < 0)
		return r;
	a = model_change_new(m, sizeof(*a), &ops, answer, err);
	if (!a)
		return -ENOMEM;
	a->fabric = fabric;
	a->s = *s;
	a->has_mac = mac;
	if (mac)
		memcpy(a->mac, mac, sizeof(a->mac));
	return model_change_begin(&fabric->changes, &a->base, err);
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

	after->vm = before->vm;
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

/* A change of a virtual PF. */
struct pf_change {
	struct model_change base;
	struct model_pf *pf;
	model_pf_edit_fn *edit; /* NULL: `wanted` */
	void *ctx;
	struct pf_settings wanted;
	bool has_mac;
	uint8_t mac[6];
	struct pf_state before, after;
	/* The PF as it is to be, and what the data plane was asked for. */
	struct model_pf next;
	unsigned int outstanding;
	int r;
	struct err err; /* the first */
};

static struct pf_change *change_of(struct model_change *c)
{
	return container_of(c, struct pf_change, base);
}

static void put_back(struct pf_change *p)
{
	for (unsigned int fn = 0; fn <= p->pf->s.vfs; fn++)
		model_function_restore(p->base.m, p->pf, fn);
}

static void on_lists(struct pf_change *p)
{
	struct model_pf *pf = p->pf;

	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++) {
		struct datapath_list was = model_list_in_force(&p->before.s, pf->fabric, fn, &pf->fn[fn].s);
		struct datapath_list is = model_list_in_force(&pf->s, pf->fabric, fn, &pf->fn[fn].s);

		pf->fn[fn].refused = p->next.fn[fn].refused;
		if (!datapath_list_equal(&was, &is))
			model_datapath_new_list(pf, fn);
	}
}

/* All functions have it, or one has not. What other virtual PFs have become meanwhile may stand against it. */
static int commit(struct model_change *c, struct err *err)
{
	struct pf_change *p = change_of(c);
	struct model *m = c->m;
	int r = p->r;

	if (r < 0 && err)
		*err = p->err;
	if (!r)
		r = pf_set_check(m, p->pf, &p->after.s, p->has_mac ? p->after.mac : NULL, err);
	if (!r)
		r = pf_save(m, p->pf, &p->before, &p->after, err);
	if (r < 0) {
		put_back(p);
		return r;
	}
	on_lists(p);
	model_reportf(m, EVENT_PF_CHANGED, LOG_LVL_NOTICE, NULL, p->pf->s.name, -1,
		      model_changed_detail(pf_difference(&p->before, &p->after)), "virtual PF changed");
	return 0;
}

static void note(struct pf_change *p, int r, const struct err *err)
{
	if (r >= 0 || p->r < 0)
		return;
	p->r = r;
	p->err = *err;
}

static void on_part(void *ctx, int r, const struct err *err)
{
	struct pf_change *p = ctx;
	struct answer answer = model_change_answer(&p->base);

	note(p, r, err);
	if (!--p->outstanding)
		answer_give(&answer, 0, NULL);
}

static int carry_out(struct model_change *c, struct err *err)
{
	struct pf_change *p = change_of(c);
	struct answer answer = {on_part, p};

	(void)err;
	for (unsigned int fn = 0; fn <= p->pf->s.vfs && !p->r; fn++) {
		struct err why = {0};
		int r = model_function_try(c->m, &p->next, fn, &p->next.fn[fn], &answer, &why);

		p->outstanding += r == ANSWER_LATER;
		note(p, r, &why);
	}
	c->step = commit;
	return p->outstanding ? ANSWER_LATER : 0;
}

/* The PF as it is to be, beside the one that is. */
static int make_next(struct pf_change *p, struct err *err)
{
	struct model_pf *pf = p->pf, *next = &p->next;
	bool refused = false;

	*next = *pf;
	next->fn = calloc(pf->s.vfs + 1, sizeof(*next->fn));
	if (!next->fn)
		return err_set(err, ENOMEM, NULL, "out of memory");
	memcpy(next->fn, pf->fn, (pf->s.vfs + 1) * sizeof(*next->fn));
	next->s = p->after.s;
	memcpy(next->mac, p->after.mac, sizeof(next->mac));
	inherit(next);
	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++)
		refused |= pf->fn[fn].refused != 0;
	if (refused)
		model_datapath_refused(p->base.m, next);
	return 0;
}

static int ask_vf(struct model_change *c, struct err *err)
{
	const struct pf_change *p = change_of(c);
	struct answer answer = model_change_answer(c);

	c->step = carry_out;
	return p->pf->s.vfs ? model_function_ask(c->m, &p->next, VPF_FUNCTION_VF(0),
						 &p->next.fn[VPF_FUNCTION_VF(0)], &answer, err)
			    : 0;
}

static int begin(struct model_change *c, struct err *err)
{
	struct pf_change *p = change_of(c);
	struct model_pf *pf = p->pf;
	struct answer answer = model_change_answer(c);
	int r = 0;

	if (p->edit) {
		p->wanted = pf->s;
		r = p->edit(p->ctx, &p->wanted, p->mac, &p->has_mac, err);
	}
	if (r < 0)
		return r;
	p->before = (struct pf_state){.s = pf->s, .vm = pf->vm};
	memcpy(p->before.mac, pf->mac, sizeof(p->before.mac));
	p->after = (struct pf_state){.s = p->wanted};
	memcpy(p->after.mac, p->has_mac ? p->mac : pf->mac, sizeof(p->after.mac));
	if (!p->after.s.datapaths.n)
		datapath_list_init(&p->after.s.datapaths, pf->fabric->s.type);
	r = pf_set_check(c->m, pf, &p->after.s, p->has_mac ? p->mac : NULL, err);
	if (r < 0 || pf_state_equal(&p->before, &p->after))
		return r;
	r = make_next(p, err);
	if (r < 0)
		return r;
	c->step = ask_vf;
	return model_function_ask(c->m, &p->next, VPF_FUNCTION_PF, &p->next.fn[VPF_FUNCTION_PF], &answer,
				  err);
}

static void end(struct model_change *c)
{
	free(change_of(c)->next.fn);
	model_pf_settle(c->m, change_of(c)->pf);
}

static int change_pf(struct model *m, const char *name, const struct pf_change *how,
		     const struct answer *answer, struct err *err)
{
	static const struct model_change_ops ops = {.begin = begin, .end = end};
	struct model_pf *pf = NULL;
	struct pf_change *p;
	int r = model_need_pf(m, name, "name", &pf, err);

	if (r < 0)
		return r;
	p = model_change_new(m, sizeof(*p), &ops, answer, err);
	if (!p)
		return -ENOMEM;
	p->pf = pf;
	p->edit = how->edit;
	p->ctx = how->ctx;
	p->wanted = how->wanted;
	p->has_mac = how->has_mac;
	memcpy(p->mac, how->mac, sizeof(p->mac));
	return model_change_begin(&pf->changes, &p->base, err);
}

int model_pf_set(struct model *m, const struct pf_settings *wanted, const uint8_t *mac,
		 const struct answer *answer, struct err *err)
{
	struct pf_change how = {.wanted = *wanted, .has_mac = mac};

	if (mac)
		memcpy(how.mac, mac, sizeof(how.mac));
	return change_pf(m, wanted->name, &how, answer, err);
}

int model_pf_edit(struct model *m, const char *name, model_pf_edit_fn *edit, void *ctx,
		  const struct answer *answer, struct err *err)
{
	return change_pf(m, name, &(struct pf_change){.edit = edit, .ctx = ctx}, answer, err);
}

int model_pf_del(struct model *m, const char *name, struct err *err)
{
	unsigned int connected, at;
	struct model_pf *pf = NULL;
	struct err gone = {0};
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
	pf->reapply = false;
	err_set(&gone, ENOENT, NULL, "the virtual PF %s was deleted", pf->s.name);
	model_changes_cancel(&pf->changes, &gone);
	model_pf_object_free(m, pf);
	return 0;
}
