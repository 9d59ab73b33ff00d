/* SPDX-License-Identifier: Apache-2.0 */

#include "fake_dataplane.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fabric/fabric.h"

/* Room for all there can be. */
#define FAKE_FUNCTIONS 16384

struct fake_call {
	struct fake_call *next;
	enum fake_op op;
	struct answer answer;
	struct fabric_settings fabric; /* its name is always there */
	char pf[VPF_NAME_MAX];         /* empty: about the fabric */
	unsigned int fn;
	struct pf_policy policy;
	struct function_settings s;
	struct function_offer offer;
};

void fake_dp_init(struct fake_dataplane *d)
{
	/* Room for all there can be, of which the kernel makes what is used: tests keep pointers into it. */
	*d = (struct fake_dataplane){.functions = mmap(NULL, FAKE_FUNCTIONS * sizeof(struct fake_function),
						       PROT_READ | PROT_WRITE,
						       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)};
	assert(d->functions != MAP_FAILED);
}

/* Those that wait and `which` is true of have no answer any more. */
static void forget(struct fake_dataplane *d, bool (*which)(const struct fake_call *c, const void *arg),
		   const void *arg)
{
	struct fake_call **at = &d->waiting;

	while (*at) {
		struct fake_call *c = *at;

		if (!which(c, arg)) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		free(c);
	}
}

static bool any(const struct fake_call *c, const void *arg)
{
	(void)c;
	(void)arg;
	return true;
}

static bool of_fabric(const struct fake_call *c, const void *name)
{
	return !strcmp(c->fabric.name, name);
}

static bool of_function(const struct fake_call *c, const void *arg)
{
	const struct fake_function *f = arg;

	return c->fn == f->fn && !strcmp(c->pf, f->pf) && !strcmp(c->fabric.name, f->fabric);
}

void fake_dp_destroy(struct fake_dataplane *d)
{
	forget(d, any, NULL);
	munmap(d->functions, FAKE_FUNCTIONS * sizeof(struct fake_function));
}

struct fabric_settings *fake_dp_fabric(struct fake_dataplane *d, const char *name)
{
	for (unsigned int i = 0; i < d->fabrics_n; i++)
		if (!strcmp(d->fabrics[i].name, name))
			return &d->fabrics[i];
	return NULL;
}

struct fake_function *fake_dp_function(struct fake_dataplane *d, const char *pf, unsigned int fn)
{
	/* A PF's functions are added one after the other. */
	for (unsigned int i = 0; i < d->functions_n; i++)
		if (d->functions[i].fn == 0 && !strcmp(d->functions[i].pf, pf))
			return i + fn < d->functions_n && !strcmp(d->functions[i + fn].pf, pf)
				       ? &d->functions[i + fn]
				       : NULL;
	return NULL;
}

static int fake_uplink(struct fake_dataplane *d, const struct fabric_settings *s, struct err *err)
{
	if (s->uplink != UPLINK_NONE && d->no_such_netdev[0] && !strcmp(s->uplink_name, d->no_such_netdev))
		return err_set(err, ENODEV, "uplink.name", "there is no netdev %s", s->uplink_name);
	return 0;
}

static int scripted(int error, enum fake_op op, struct err *err)
{
	bool fabric = op == FAKE_FABRIC_ADD || op == FAKE_FABRIC_SET;

	return error ? err_set(err, error, fabric ? "uplink.name" : "vlan", "scripted") : 0;
}

/* It is done, if it can be. */
static int carry_out(struct fake_dataplane *d, const struct fake_call *c, struct err *err)
{
	struct fabric_settings *fabric = fake_dp_fabric(d, c->fabric.name);
	struct fake_function *f;
	int r;

	switch (c->op) {
	case FAKE_FABRIC_ADD:
		r = fake_uplink(d, &c->fabric, err);
		if (r < 0)
			return r;
		assert(!fabric && d->fabrics_n < VPF_MAX_FABRICS);
		d->fabrics[d->fabrics_n++] = c->fabric;
		return 0;
	case FAKE_FABRIC_SET:
		r = fake_uplink(d, &c->fabric, err);
		if (!r)
			*fabric = c->fabric;
		return r;
	case FAKE_FUNCTION_SET:
		f = fake_dp_function(d, c->pf, c->fn);
		if (f->binding.state == BINDING_BOUND &&
		    !datapath_list_equal(&f->s.datapaths, &c->s.datapaths))
			f->binding.state = BINDING_MOVING; /* until the test says what becomes of it */
		f->s = c->s;
		f->policy = c->policy;
		f->offer = c->offer;
		d->function_sets++;
		return 0;
	case FAKE_FUNCTION_CHECK:
	case FAKE_OPS:
		break;
	}
	return 0;
}

/* The one that `c` has to wait for. */
static const struct fake_call *before(const struct fake_dataplane *d, const struct fake_call *c)
{
	const struct fake_call *w = d->waiting;

	while (w && !(w->op == c->op && w->fn == c->fn && !strcmp(w->pf, c->pf) &&
		      !strcmp(w->fabric.name, c->fabric.name)))
		w = w->next;
	return w;
}

static int call(struct fake_dataplane *d, const struct fake_call *c, struct err *err)
{
	bool fabric = c->op == FAKE_FABRIC_ADD || c->op == FAKE_FABRIC_SET;
	struct fake_call **at = &d->waiting, *later;
	int r;

	assert(!fabric || !before(d, c)); /* one thing at a time */
	if (!d->later[c->op] && !(c->op == FAKE_FUNCTION_SET && before(d, c))) {
		r = scripted(d->fails[c->op], c->op, err);
		return r < 0 ? r : carry_out(d, c, err);
	}
	later = malloc(sizeof(*later));
	assert(later);
	*later = *c;
	while (*at)
		at = &(*at)->next;
	*at = later;
	return ANSWER_LATER;
}

void fake_dp_all_later(struct fake_dataplane *d, bool later)
{
	for (unsigned int op = 0; op < FAKE_OPS; op++)
		d->later[op] = later;
}

unsigned int fake_dp_waiting(const struct fake_dataplane *d)
{
	unsigned int n = 0;

	for (const struct fake_call *c = d->waiting; c; c = c->next)
		n++;
	return n;
}

static const char *about(const struct fake_call *c)
{
	return c->pf[0] ? c->pf : c->fabric.name;
}

const char *fake_dp_next(const struct fake_dataplane *d, const char *last)
{
	const struct fake_call *c = d->waiting;

	while (c && last && !strcmp(about(c), last))
		c = c->next;
	if (!c)
		c = d->waiting;
	return c ? about(c) : NULL;
}

void fake_dp_answer_of(struct fake_dataplane *d, const char *name, int error)
{
	struct fake_call **at = &d->waiting, *c;
	struct answer answer;
	struct err err = {0};
	int r;

	while (*at && name && strcmp(about(*at), name) != 0)
		at = &(*at)->next;
	c = *at;
	assert(c);
	*at = c->next;
	r = scripted(error, c->op, &err);
	if (!r)
		r = carry_out(d, c, &err);
	answer = c->answer;
	free(c);
	answer_give(&answer, r, &err);
}

void fake_dp_answer(struct fake_dataplane *d, int error)
{
	fake_dp_answer_of(d, NULL, error);
}

void fake_dp_answer_all(struct fake_dataplane *d)
{
	while (d->waiting)
		fake_dp_answer(d, 0);
}

static int fake_fabric_add(void *dp, const struct fabric_settings *s, const struct answer *answer,
			   struct err *err)
{
	struct fake_call c = {.op = FAKE_FABRIC_ADD, .answer = *answer, .fabric = *s};

	return call(dp, &c, err);
}

static int fake_fabric_set(void *dp, const struct fabric_settings *s, const struct answer *answer,
			   struct err *err)
{
	struct fake_call c = {.op = FAKE_FABRIC_SET, .answer = *answer, .fabric = *s};

	assert(fake_dp_fabric(dp, s->name));
	return call(dp, &c, err);
}

static void fake_fabric_del(void *dp, const char *name)
{
	struct fake_dataplane *d = dp;
	struct fabric_settings *f = fake_dp_fabric(d, name);

	assert(f);
	forget(d, of_fabric, name);
	*f = d->fabrics[--d->fabrics_n];
}

static int fake_fabric_get(void *dp, const char *name, struct fabric_state *ret,
			   struct port_stats *ret_uplink)
{
	if (!fake_dp_fabric(dp, name))
		return -ENOENT;
	*ret = (struct fabric_state){.uplink_carrier = true};
	if (ret_uplink)
		*ret_uplink = (struct port_stats){0};
	return 0;
}

static int fake_fabric_fdb(void *dp, const char *name, void (*row)(void *arg, const struct fdb_row *row),
			   void *arg)
{
	struct fdb_row example = {.mac = {2, 0, 0, 0, 0, 9},
				  .vlan = -1,
				  .kind = FDB_LEARNED,
				  .pf = "pf0",
				  .function = 1,
				  .age = 7};

	if (!fake_dp_fabric(dp, name))
		return -ENOENT;
	row(arg, &example);
	return 0;
}

static int fake_list_check(void *dp, const char *fabric, unsigned int queue_pairs,
			   const struct datapath_list *list, struct datapath_ability *ret, struct err *err)
{
	struct fake_dataplane *d = dp;
	const struct fabric_settings *f = fake_dp_fabric(d, fabric);
	struct datapath_ability ability = {.features = UINT64_MAX};
	unsigned int present = 0;

	d->list_checks++;
	assert(f && queue_pairs && list->n && list->n <= VPF_MAX_DATAPATHS);
	for (unsigned int i = 0; i < list->n; i++) {
		unsigned int type = fake_type(list->pref[i].type);

		if (list->pref[i].type == &datapath_type_vhost_net && f->type != &fabric_type_bridge)
			return err_set(err, EOPNOTSUPP, "datapaths", "scripted: leads elsewhere");
		ability.enforces[i] = ~d->cannot[type];
		if (d->lacks[type] == UINT64_MAX) {
			snprintf(ability.absent, sizeof(ability.absent), "scripted: absent");
			continue;
		}
		ability.features &= ~d->lacks[type];
		present++;
	}
	if (!present)
		ability.features = 0;
	*ret = ability;
	return 0;
}

static int fake_function_add(void *dp, const struct pf_settings *pf, unsigned int fn,
			     const struct function_settings *s, const struct function_offer *offer,
			     const char *path, struct err *err)
{
	struct fake_dataplane *d = dp;
	struct fake_function *f = &d->functions[d->functions_n];

	assert(s->datapaths.n && offer && s->failback == pf->failback);
	assert(d->functions_n < FAKE_FUNCTIONS && strlen(path) < 108 && fake_dp_fabric(d, pf->fabric));
	if (d->fail_function_add && d->fail_countdown-- == 0)
		return err_set(err, d->fail_function_add, NULL, "scripted");
	*f = (struct fake_function){.fn = fn, .s = *s, .offer = *offer, .policy = pf->policy};
	snprintf(f->pf, sizeof(f->pf), "%s", pf->name);
	snprintf(f->fabric, sizeof(f->fabric), "%s", pf->fabric);
	d->functions_n++;
	return 0;
}

static int fake_function_check(void *dp, const char *fabric, const struct pf_settings *pf, unsigned int fn,
			       const struct function_settings *s, const struct answer *answer,
			       struct err *err)
{
	struct fake_call c = {.op = FAKE_FUNCTION_CHECK, .answer = *answer, .fn = fn, .s = *s};

	assert(fake_dp_fabric(dp, fabric) && fn <= pf->vfs);
	snprintf(c.fabric.name, sizeof(c.fabric.name), "%s", fabric);
	snprintf(c.pf, sizeof(c.pf), "%s", pf->name);
	return call(dp, &c, err);
}

static int fake_function_set(void *dp, const char *pf, unsigned int fn, const struct pf_policy *policy,
			     const struct function_settings *s, const struct function_offer *offer,
			     const struct answer *answer, struct err *err)
{
	const struct fake_function *f = fake_dp_function(dp, pf, fn);
	struct fake_call c = {.op = FAKE_FUNCTION_SET,
			      .answer = *answer,
			      .fn = fn,
			      .policy = *policy,
			      .s = *s,
			      .offer = *offer};

	assert(f && s->datapaths.n);
	memcpy(c.fabric.name, f->fabric, sizeof(c.fabric.name));
	memcpy(c.pf, f->pf, sizeof(c.pf));
	return call(dp, &c, err);
}

static void fake_function_del(void *dp, const char *pf, unsigned int fn)
{
	struct fake_dataplane *d = dp;
	struct fake_function *f = fake_dp_function(d, pf, fn);

	/* In reverse: of this PF, the last one there is. */
	assert(f && !fake_dp_function(d, pf, fn + 1));
	forget(d, of_function, f);
	memmove(f, f + 1, (size_t)(d->functions + d->functions_n - (f + 1)) * sizeof(*f));
	d->functions_n--;
}

static void fake_function_filter(void *dp, const char *pf, unsigned int fn, const struct rx_filter *filter)
{
	struct fake_function *f = fake_dp_function(dp, pf, fn);

	assert(f);
	f->filter = *filter;
}

static int fake_function_get(void *dp, const char *pf, unsigned int fn, struct function_state *ret,
			     struct vhost_user_info *ret_vu, struct port_stats *ret_stats)
{
	const struct fake_function *f = fake_dp_function(dp, pf, fn);

	if (!f)
		return -ENOENT;
	if (ret)
		*ret = (struct function_state){
			.link_up = f->s.link != LINK_DISABLE,
			.datapath = f->binding.pref.type ? f->binding.pref.type->base.name : "none",
			.offered = f->offered,
			.filter = &f->filter,
		};
	if (ret_vu)
		*ret_vu = (struct vhost_user_info){
			.connected = f->connected, .peer = 4711, .queues_started = f->started ? 2 : 0};
	if (ret_stats) {
		*ret_stats = (struct port_stats){.tx_packets = 5};
		ret_stats->rx_drop[DROP_VLAN] = 3;
	}
	return 0;
}

static int fake_function_binding(void *dp, const char *pf, unsigned int fn, struct binding_info *ret)
{
	const struct fake_function *f = fake_dp_function(dp, pf, fn);

	if (!f)
		return -ENOENT;
	*ret = f->binding;
	return 0;
}

const struct dataplane_ops fake_dp_ops = {
	.fabric_add = fake_fabric_add,
	.fabric_set = fake_fabric_set,
	.fabric_del = fake_fabric_del,
	.fabric_get = fake_fabric_get,
	.fabric_fdb = fake_fabric_fdb,
	.list_check = fake_list_check,
	.function_check = fake_function_check,
	.function_add = fake_function_add,
	.function_set = fake_function_set,
	.function_del = fake_function_del,
	.function_filter = fake_function_filter,
	.function_get = fake_function_get,
	.function_binding = fake_function_binding,
};
