/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a type of fabric is to the core (fabric.c), which keeps ports, groups, filters, policy, open counts, time
 * limits and the order of operations for all of them.
 *
 * A type is a directory of its own with a struct fabric_ops, registered by its name. An instance is a structure
 * that begins with struct fabric (port_size: with struct fabric_port); the core allocates it, zeroed, and frees
 * it.
 *
 * Operations that return int may be answered later: they return ANSWER_LATER and call fabric_answer() or
 * fabric_port_answer() once, from the event loop, with the number that f->call (p->call) had when they were called.
 * An answer that is late, or of an operation that was given up, is ignored. At most one operation of a port, and one
 * of the fabric itself, is under way at a time; checks are apart from both. After a time-out the core may call
 * again: the provider has to cope with partial results of the first call.
 *
 * Thread-safety: main thread. */

#include "fabric/fabric.h"

struct fabric_ops {
	const char *type; /* "builtin" */
	size_t size, port_size;

	uint32_t (*can)(const struct fabric_settings *s);   /* fabric_can() */
	uint32_t (*gives)(const struct fabric_settings *s); /* fabric_gives() */

	/* Makes what f->settings say. On failure nothing remains, and free() is not called for an error that init()
	 * itself returned; it is called after one that was answered. */
	int (*init)(struct fabric *f, struct err *err);
	/* On success f->settings are `s`, which the provider itself takes over. A failure leaves everything as it was;
	 * if it is not answered in time, the core calls again with the settings before, whatever became of it. */
	int (*set)(struct fabric *f, const struct fabric_settings *s, struct err *err);
	void (*free)(struct fabric *f); /* no ports left */
	/* NULL: everything in fabric_can() is possible. Answered by fabric_check_answer(). */
	int (*check)(struct fabric *f, const struct fabric_check *check, uint64_t call, struct err *err);
	void (*get)(const struct fabric *f, struct fabric_state *ret, struct port_stats *ret_uplink);
	void (*fdb)(const struct fabric *f, uint32_t now, void (*row)(void *arg, const struct fdb_row *row),
		    void *arg);
	void (*netdev_changed)(struct fabric *f, const char *name, int ifindex, bool carrier, bool gone);
	bool (*note)(struct fabric *f, const struct worker_note *note); /* NULL: no workers here */

	/* A virtual PF's first port comes, its last one went: group->data. NULL: nothing to keep. -ENOMEM. */
	int (*group_init)(struct fabric *f, struct fabric_group *group);
	void (*group_free)(struct fabric *f, struct fabric_group *group);
	/* group->max_rate_total changed; port_set() of one of its ports follows. */
	void (*group_set)(struct fabric *f, struct fabric_group *group);

	/* The port has its settings, policy and group, and is not in f->ports yet. -ENOMEM. */
	int (*port_init)(struct fabric_port *p, struct counter_file *counters);
	void (*port_added)(struct fabric_port *p); /* it is in f->ports */
	/* It is not in f->ports any more, and closed or being closed; port_close() came before, if it has to, though an
	 * answer was due. Operations in progress end: no answer counts any more. p itself is the core's to free. */
	void (*port_free)(struct fabric_port *p);
	/* p->settings or p->policy changed. On failure the core puts the old ones back and calls again, `undo`: what
	 * cannot be carried out then is for fabric_tell_trouble(). */
	int (*port_set)(struct fabric_port *p, bool undo, struct err *err);
	/* p->filter or p->elsewhere changed. */
	void (*port_changed)(struct fabric_port *p);
	void (*port_get_stats)(struct fabric_port *p, struct port_stats *ret);
	/* On success p->attach is filled in. */
	int (*port_open)(struct fabric_port *p, unsigned int queue_pairs, struct err *err);
	int (*port_close)(struct fabric_port *p); /* an error is as good as success: it is closed */
	void (*announce)(struct fabric_port *p, const uint8_t *mac);
};

#define DECLARE_FABRIC_OPS(type) extern const struct fabric_ops fabric_##type;
ALL_FABRIC_TYPES(DECLARE_FABRIC_OPS)
#undef DECLARE_FABRIC_OPS
const struct fabric_ops *fabric_ops_of(const struct fabric_type *type); /* NULL: none of the list */

void fabric_answer(struct fabric *f, uint64_t call, int r, const struct err *err);
void fabric_port_answer(struct fabric_port *p, uint64_t call, int r, const struct err *err);
void fabric_check_answer(struct fabric *f, uint64_t call, int r, const struct err *err);

/* Events, for the fabric's owner. */
void fabric_tell_link(struct fabric_port *p, bool up); /* if it is news; sets p->link_up */
void fabric_tell_conflict(struct fabric_port *p, const uint8_t mac[6]);
void fabric_tell_uplink(struct fabric *f, bool carrier);
void fabric_tell_trouble(struct fabric *f, struct fabric_port *p, const char *why);
void fabric_tell_remade(struct fabric_port *p);
void fabric_tell_lost(struct fabric_port *p); /* sets p->gone */

/* A port's link by its setting; `carrier` is what LINK_AUTO follows. */
bool fabric_link(enum link_mode mode, bool carrier);
