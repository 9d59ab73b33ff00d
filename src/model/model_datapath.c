/* SPDX-License-Identifier: Apache-2.0 */

/* Datapaths of functions: which list is in force, and whether it can keep what the settings promise.
 *
 * A list is refused when it is set; so is a setting that the list in force cannot enforce. What was set while
 * it was possible and is not any more (the state was loaded on a host that has lost a device, or another
 * vpfd) must not keep the daemon from starting, and must not be forgotten either: then those of the list that
 * cannot enforce the settings are left out until something changes, and a function with none left has no
 * link. */

#include <stdio.h>
#include <string.h>

#include "fabric/fabric.h"
#include "model/enforce.h"
#include "model/model_private.h"
#include "model/policy.h"
#include "settings/can.h"

#define ALL_REFUSED ((1U << VPF_MAX_DATAPATHS) - 1)

/* What is checked: a function as it would be. */
struct candidate {
	const struct pf_settings *pf;
	const struct model_fabric *fabric;
	unsigned int fn;
	const struct function_settings *s; /* as set, not as in force */
};

/* The check of a whole PF asks the data plane once for each list. */
struct memory {
	struct datapath_list list;
	struct datapath_ability ability;
	int r;
	struct err err;
};

/* Of a datapath whose rings vpfd reads itself. */
static struct datapath_list control_list(void)
{
	return (struct datapath_list){.n = 1, .pref = {{.type = datapath_type_of_control()}}};
}

struct datapath_list model_list_in_force(const struct pf_settings *pf, const struct model_fabric *fabric,
					 unsigned int fn, const struct function_settings *s)
{
	if (s->datapaths.n)
		return s->datapaths;
	/* The list is meant for VFs. The PF's own rings bring the guest's requests, which only vpfd can read.
	 */
	if (fn == VPF_FUNCTION_PF && pf->policy.guest_control && fabric->control)
		return control_list();
	return pf->datapaths;
}

void model_fabric_learn(struct model *m, struct model_fabric *f)
{
	struct datapath_list list = control_list();
	struct datapath_ability ability = {0};

	f->control = list.pref[0].type && !m->ops->list_check(m->dp, f->s.name, 1, &list, &ability, NULL) &&
		     ability.enforces[0] & CAN_CONTROL;
}

static int ask(const struct model *m, const struct candidate *c, const struct datapath_list *list,
	       struct memory *memory)
{
	if (memory->list.n && datapath_list_equal(&memory->list, list))
		return memory->r;
	memory->list = *list;
	memory->ability = (struct datapath_ability){0};
	memory->err = (struct err){0};
	memory->r = m->ops->list_check(m->dp, c->fabric->s.name, c->pf->queue_pairs, list, &memory->ability,
				       &memory->err);
	return memory->r;
}

static uint32_t needs_of(const struct candidate *c)
{
	return enforce_needs(c->s, &c->pf->policy, c->fn, c->fabric->control);
}

static const char *name_of(const struct candidate *c, char ret[64])
{
	if (c->fn == VPF_FUNCTION_PF)
		snprintf(ret, 64, "%.*s itself", VPF_NAME_MAX - 1, c->pf->name);
	else
		snprintf(ret, 64, "VF %u of %.*s", c->fn - 1, VPF_NAME_MAX - 1, c->pf->name);
	return ret;
}

/* What a connected front-end was offered its driver may use, now or after its next reset. */
static int check_offered(const struct model *m, const struct candidate *c,
			 const struct datapath_ability *ability, struct err *err)
{
	struct function_state state = {0};
	char function[64];

	if (m->ops->function_get(m->dp, c->pf->name, c->fn, &state, NULL, NULL) < 0 ||
	    !(state.offered & ~ability->features))
		return 0;
	return err_set(
		err, EBUSY, "datapaths",
		"%s is connected and was offered virtio features 0x%llx that these datapaths do not all have: stop the VM first, or begin with a list of the virtual PF that names them all",
		name_of(c, function), (unsigned long long)(state.offered & ~ability->features));
}

/* `before` NULL: the function is new. */
static int check(const struct model *m, const struct candidate *before, const struct candidate *after,
		 enum enforce_asker asker, struct memory *memory, struct err *err)
{
	struct datapath_list list = model_list_in_force(after->pf, after->fabric, after->fn, after->s),
			     old = {0};
	uint32_t needs = needs_of(after), new_needs = needs;
	bool new_list = true;
	char function[64];
	int r;

	if (before) {
		old = model_list_in_force(before->pf, before->fabric, before->fn, before->s);
		new_list = !datapath_list_equal(&old, &list);
		new_needs = needs & ~needs_of(before);
	}
	if (!new_list && !new_needs)
		return 0;
	r = ask(m, after, &list, memory);
	if (r < 0) {
		if (err)
			*err = memory->err;
		return r;
	}
	for (unsigned int i = 0; i < list.n; i++) {
		/* What a setting that stays as it is needs is no reason to refuse another setting. */
		uint32_t lacking = (new_list ? needs : new_needs) & ~memory->ability.enforces[i];

		if (lacking)
			return enforce_refuse(lacking & new_needs ? lacking & new_needs : lacking,
					      &list.pref[i], name_of(after, function),
					      !(lacking & new_needs) || !before ? ENFORCE_LIST : asker, err);
	}
	if (!new_list)
		return 0;
	if (!memory->ability.features)
		return err_set(err, ENODEV, "datapaths", "none of them is available: %.200s",
			       memory->ability.absent);
	return before ? check_offered(m, after, &memory->ability, err) : 0;
}

static unsigned int refused_of(const struct model *m, const struct candidate *c, struct memory *memory,
			       const char **ret_why)
{
	struct datapath_list list = model_list_in_force(c->pf, c->fabric, c->fn, c->s);
	uint32_t needs = needs_of(c);
	unsigned int refused = 0;
	struct err *err = &memory->err;
	char function[64];

	if (ask(m, c, &list, memory) < 0) {
		*ret_why = err->text;
		return ALL_REFUSED;
	}
	for (unsigned int i = 0; i < list.n; i++) {
		uint32_t lacking = needs & ~memory->ability.enforces[i];

		if (!lacking)
			continue;
		if (!refused)
			enforce_refuse(lacking, &list.pref[i], name_of(c, function), ENFORCE_LIST, err);
		*ret_why = err->text;
		refused |= 1U << i;
	}
	return refused;
}

static struct candidate candidate_of(const struct model_pf *pf, unsigned int fn)
{
	return (struct candidate){.pf = &pf->s, .fabric = pf->fabric, .fn = fn, .s = &pf->fn[fn].s};
}

static void log_refused(const struct model_pf *pf, const char *why)
{
	log_write(LOG_LVL_ERR, &(struct log_scope){.pf = pf->s.name, .vf = LOG_VF_NONE},
		  "a datapath that is set is left out, or the link is down where there is no other: %s", why);
}

uint8_t model_datapath_left_out(const struct model *m, const struct model_pf *pf, unsigned int fn,
				const struct function_settings *s)
{
	struct candidate c = {.pf = &pf->s, .fabric = pf->fabric, .fn = fn, .s = s};
	struct memory memory = {0};
	const char *why = NULL;
	uint8_t refused = (uint8_t)refused_of(m, &c, &memory, &why);

	if (refused)
		log_refused(pf, why);
	return refused;
}

void model_datapath_refused(const struct model *m, struct model_pf *pf)
{
	struct memory memory = {0};
	const char *why = NULL;
	unsigned int n = 0;

	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++) {
		struct candidate c = candidate_of(pf, fn);
		const char *this_why = NULL;

		pf->fn[fn].refused = (uint8_t)refused_of(m, &c, &memory, &this_why);
		if (!pf->fn[fn].refused)
			continue;
		if (!n++)
			log_refused(pf, this_why);
		why = this_why;
	}
	if (why && n > 1)
		log_write(LOG_LVL_ERR, &(struct log_scope){.pf = pf->s.name, .vf = LOG_VF_NONE},
			  "so it is with %u of its functions", n);
}

/* A value that no two functions share, as it is for one of them. */
struct value_row {
	char value[PARAM_TEXT_MAX];
	const struct param *param;
	const char *pf;
	unsigned int fn;
};

struct value_table {
	struct value_row *rows;
	size_t n, room;
};

static int add_row(struct value_table *t, const struct value_row *row, struct err *err)
{
	if (t->n == t->room) {
		size_t room = t->room ? 2 * t->room : 64;
		struct value_row *rows = reallocarray(t->rows, room, sizeof(*rows));

		if (!rows)
			return err_set(err, ENOMEM, NULL, "out of memory");
		t->rows = rows;
		t->room = room;
	}
	t->rows[t->n++] = *row;
	return 0;
}

static bool in_directory(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && path[n] == '/';
}

static int add_value(struct value_table *t, const struct model *m, const struct candidate *c,
		     const struct datapath_pref *pref, const struct param *p, struct err *err)
{
	struct value_row row = {.param = p, .pf = c->pf->name, .fn = c->fn};
	const char *text = param_text(&pref->params, p);
	int r = 0;

	if (p->flags & PARAM_TEMPLATE)
		r = datapath_expand(text, c->pf->name, c->fn, row.value, err);
	else
		snprintf(row.value, sizeof(row.value), "%s", text);
	if (r < 0)
		return r;
	if (p->form == PARAM_PATH && in_directory(row.value, m->run_dir))
		return err_set(
			err, EINVAL, "datapaths",
			"%s is in vpfd's own directory, where its functions' sockets are: choose the back-end's",
			row.value);
	return add_row(t, &row, err);
}

static bool is_exclusive(const struct datapath_pref *pref, const struct param *p)
{
	return p->flags & PARAM_EXCLUSIVE && param_given(&pref->params, p);
}

static int add_values(struct value_table *t, const struct model *m, const struct candidate *c,
		      struct err *err)
{
	struct datapath_list list = model_list_in_force(c->pf, c->fabric, c->fn, c->s);
	int r = 0;

	for (unsigned int i = 0; i < list.n; i++)
		for (const struct param *p = list.pref[i].type->base.params; !r && p && p->name; p++)
			if (is_exclusive(&list.pref[i], p))
				r = add_value(t, m, c, &list.pref[i], p, err);
	return r;
}

static bool same_value(const struct value_row *a, const struct value_row *b)
{
	return a->param == b->param && !strcmp(a->value, b->value);
}

static int compare_rows(const void *a, const void *b)
{
	const struct value_row *x = a, *y = b;
	int r = strcmp(x->value, y->value);

	if (!r && x->param != y->param)
		r = x->param < y->param ? -1 : 1;
	return r ? r : strcmp(x->pf, y->pf) ? strcmp(x->pf, y->pf) : (int)x->fn - (int)y->fn;
}

static bool has_exclusive(const struct datapath_list *list)
{
	for (unsigned int i = 0; i < list->n; i++)
		for (const struct param *p = list->pref[i].type->base.params; p && p->name; p++)
			if (is_exclusive(&list->pref[i], p))
				return true;
	return false;
}

static int refuse_shared(const struct value_row *a, const struct value_row *b, struct err *err)
{
	struct pf_settings one = {0}, other = {0};
	struct candidate x = {.pf = &one, .fn = a->fn}, y = {.pf = &other, .fn = b->fn};
	char first[64], second[64];

	snprintf(one.name, sizeof(one.name), "%s", a->pf);
	snprintf(other.name, sizeof(other.name), "%s", b->pf);
	return err_set(
		err, EINVAL, "datapaths",
		"%s and %s would share the %s %.90s, which serves one: write {pf} and {vf} into the %s",
		name_of(&x, first), name_of(&y, second), a->param->what, a->value, a->param->name);
}

/* No two functions share what serves one, such as a back-end's socket. As the virtual PF of the name of `ps`
 * would be, with `changed` (NULL: none) for its function `changed_fn`, beside all others. */
static int check_exclusive(const struct model *m, const struct pf_settings *ps,
			   const struct model_fabric *fabric, const struct model_function *functions,
			   unsigned int changed_fn, const struct function_settings *changed, struct err *err)
{
	struct value_table t = {0};
	int r = 0;

	for (unsigned int i = 0; !r && i < m->pfs_n; i++) {
		const struct model_pf *pf = m->pfs[i];

		if (!strcmp(pf->s.name, ps->name))
			continue;
		for (unsigned int fn = 0; !r && fn <= pf->s.vfs; fn++) {
			struct candidate c = candidate_of(pf, fn);

			r = add_values(&t, m, &c, err);
		}
	}
	for (unsigned int fn = 0; !r && fn <= ps->vfs; fn++) {
		struct candidate c = {.pf = ps,
				      .fabric = fabric,
				      .fn = fn,
				      .s = changed && fn == changed_fn ? changed : &functions[fn].s};

		r = add_values(&t, m, &c, err);
	}
	if (!r && t.n > 1)
		qsort(t.rows, t.n, sizeof(*t.rows), compare_rows);
	for (size_t i = 1; !r && i < t.n; i++)
		if (same_value(&t.rows[i - 1], &t.rows[i]))
			r = refuse_shared(&t.rows[i - 1], &t.rows[i], err);
	free(t.rows);
	return r;
}

int model_datapath_check_pf(const struct model *m, const struct pf_settings *s,
			    const struct model_fabric *fabric, const struct model_pf *pf,
			    const struct model_function *functions, struct err *err)
{
	struct memory memory = {0};
	bool exclusive = has_exclusive(&s->datapaths);

	for (unsigned int fn = 0; fn <= s->vfs; fn++) {
		struct candidate after = {.pf = s, .fabric = fabric, .fn = fn, .s = &functions[fn].s}, before;
		int r;

		if (pf)
			before = candidate_of(pf, fn);
		r = check(m, pf ? &before : NULL, &after, ENFORCE_SETTING, &memory, err);
		if (r < 0)
			return r;
		exclusive |= has_exclusive(&functions[fn].s.datapaths);
	}
	return exclusive ? check_exclusive(m, s, fabric, functions, 0, NULL, err) : 0;
}

int model_datapath_check_function(const struct model *m, const struct model_pf *pf, unsigned int fn,
				  const struct function_settings *s, bool guest, struct err *err)
{
	struct candidate before = candidate_of(pf, fn), after = before;
	struct memory memory = {0};
	struct datapath_list list;
	int r;

	after.s = s;
	r = check(m, &before, &after, guest ? ENFORCE_GUEST : ENFORCE_SETTING, &memory, err);
	if (r < 0 || guest)
		return r;
	list = model_list_in_force(&pf->s, pf->fabric, fn, s);
	return has_exclusive(&list) && !datapath_list_equal(&s->datapaths, &pf->fn[fn].s.datapaths)
		       ? check_exclusive(m, &pf->s, pf->fabric, pf->fn, fn, s, err)
		       : 0;
}

void model_datapath_new_list(struct model_pf *pf, unsigned int fn)
{
	pf->fn[fn].list_changed = true;
}

void model_datapath_effective(const struct model_pf *pf, unsigned int fn, const struct model_function *f,
			      struct function_settings *s)
{
	struct datapath_list all = model_list_in_force(&pf->s, pf->fabric, fn, &f->s), left = {0};

	for (unsigned int i = 0; i < all.n; i++)
		if (!(f->refused >> i & 1))
			left.pref[left.n++] = all.pref[i];
	s->failback = pf->s.failback;
	s->datapaths = left.n ? left : all;
	if (!left.n)
		s->link = LINK_DISABLE;
}

static uint64_t features_of(const struct model *m, const struct model_pf *pf,
			    const struct datapath_list *list)
{
	struct datapath_ability ability = {0};

	/* The list was checked when it was set; what has changed since turns out when it is bound. */
	if (m->ops->list_check(m->dp, pf->fabric->s.name, pf->s.queue_pairs, list, &ability, NULL) < 0)
		return 0;
	return ability.features;
}

struct function_offer model_datapath_offer(const struct model *m, const struct model_pf *pf,
					   const struct function_settings *effective)
{
	return (struct function_offer){.list = features_of(m, pf, &effective->datapaths),
				       .pf = features_of(m, pf, &pf->s.datapaths)};
}

uint32_t model_pf_can(const struct model *m, const struct model_pf *pf)
{
	struct memory memory = {0};
	uint32_t can = 0;

	for (unsigned int fn = VPF_FUNCTION_VF(0); fn <= pf->s.vfs; fn++) {
		struct candidate c = candidate_of(pf, fn);
		struct datapath_list list = model_function_list(pf, fn);
		uint32_t all = UINT32_MAX;

		if (ask(m, &c, &list, &memory) < 0)
			continue;
		for (unsigned int i = 0; i < list.n; i++)
			all &= memory.ability.enforces[i];
		can |= all;
	}
	return can;
}
