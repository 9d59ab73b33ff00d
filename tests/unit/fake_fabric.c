/* SPDX-License-Identifier: Apache-2.0 */

#include "fake_fabric.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

struct ff ff;

static const int fake_fd[] = {100, 101, 102, 103};

void ff_reset(void)
{
	ff = (struct ff){.gives = ATTACH_TAP, .kind = ATTACH_TAP};
}

struct ff_port *ff_port_of(const struct fabric_port *p)
{
	return container_of(p, struct ff_port, base);
}

static void __attribute__((format(printf, 2, 3))) note(enum ff_op op, const char *fmt, ...)
{
	size_t n = strlen(ff.log);
	va_list ap;

	if (n + 64 > sizeof(ff.log)) /* of a test that does not look at it */
		n = (size_t)snprintf(ff.log, sizeof(ff.log), "... ");
	va_start(ap, fmt);
	n += (size_t)vsnprintf(ff.log + n, sizeof(ff.log) - n, fmt, ap);
	va_end(ap);
	assert_true(n + 3 < sizeof(ff.log));
	snprintf(ff.log + n, sizeof(ff.log) - n, "%s ", op < FF_OPS && ff.how[op] == FF_LATER ? "*" : "");
}

void ff_assert_log_at(const char *text, const char *file, int line)
{
	if (strcmp(ff.log, text) != 0)
		print_error("asked: \"%s\", not \"%s\"\n", ff.log, text);
	_assert_string_equal(ff.log, text, file, line);
	ff.log[0] = 0;
}

static int answer_of(enum ff_op op, struct err *err)
{
	switch (ff.how[op]) {
	case FF_LATER:
		return ANSWER_LATER;
	case FF_FAIL:
		return err_set(err, EIO, "mtu", "scripted");
	case FF_NOW:
		break;
	}
	return 0;
}

static int begin(struct fabric_port *base, enum ff_op op, struct err *err)
{
	struct ff_port *p = ff_port_of(base);

	assert_true(!p->busy || ff.impatient);
	assert_true(base->call > p->call); /* each has a number of its own */
	p->busy = ff.how[op] == FF_LATER;
	p->call = base->call;
	p->op = op;
	return answer_of(op, err);
}

static uint32_t op_can(const struct fabric_settings *s)
{
	(void)s;
	return UINT32_MAX;
}

static uint32_t op_gives(const struct fabric_settings *s)
{
	(void)s;
	return ff.gives;
}

static int op_init(struct fabric *f, struct err *err)
{
	note(FF_INIT, "init");
	ff.fabric = f;
	ff.call = f->call;
	return answer_of(FF_INIT, err);
}

static int op_set(struct fabric *f, const struct fabric_settings *s, struct err *err)
{
	note(FF_SET, "set:%u", s->ageing);
	assert_true(f->call > ff.call);
	ff.call = f->call;
	if (ff.how[FF_SET] == FF_NOW)
		f->settings = *s;
	return answer_of(FF_SET, err);
}

static void op_free(struct fabric *f)
{
	assert_int_equal(f->n_ports, 0);
	note(FF_OPS, "free");
	ff.frees++;
}

static int op_check(struct fabric *f, const struct fabric_check *check, uint64_t call, struct err *err)
{
	(void)f;
	assert_true(check->pf && check->policy);
	note(FF_CHECK, "check:%u", check->settings->mtu);
	assert_true(ff.n_checks < ARRAY_SIZE(ff.checks));
	if (ff.how[FF_CHECK] == FF_LATER)
		ff.checks[ff.n_checks++] = call;
	return answer_of(FF_CHECK, err);
}

static void op_get(const struct fabric *f, struct fabric_state *ret, struct port_stats *ret_uplink)
{
	if (ret)
		*ret = (struct fabric_state){.ports = f->n_ports};
	if (ret_uplink)
		*ret_uplink = (struct port_stats){0};
}

static void op_fdb(const struct fabric *f, uint32_t now, void (*row)(void *arg, const struct fdb_row *row),
		   void *arg)
{
	(void)f;
	(void)now;
	(void)row;
	(void)arg;
}

static void op_netdev_changed(struct fabric *f, const char *name, int ifindex, bool carrier, bool gone)
{
	(void)f;
	(void)name;
	(void)ifindex;
	(void)carrier;
	(void)gone;
}

static int op_port_init(struct fabric_port *p, struct counter_file *counters)
{
	assert_true(p->fabric && p->group && !ff_port_of(p)->open);
	(void)counters;
	return 0;
}

static void op_port_added(struct fabric_port *p)
{
	fabric_tell_link(p, true);
}

static void op_port_free(struct fabric_port *p)
{
	assert_false(ff_port_of(p)->open);
	note(FF_OPS, "free-port");
}

static int op_port_set(struct fabric_port *p, bool undo, struct err *err)
{
	enum ff_op op = undo ? FF_UNDO : FF_PORT_SET;

	void (*during)(struct fabric_port *) = ff.during_set;

	note(op, "%s:%u", undo ? "undo" : "set", p->settings.mtu);
	ff.during_set = NULL;
	if (during)
		during(p);
	return begin(p, op, err);
}

static void op_port_changed(struct fabric_port *p)
{
	(void)p;
}

static void op_port_get_stats(struct fabric_port *p, struct port_stats *ret)
{
	(void)p;
	*ret = (struct port_stats){0};
}

static void give(struct fabric_port *p)
{
	p->attach = (struct fabric_attach){.kind = ff.kind};
	if (ff.kind != ATTACH_TAP)
		return;
	p->attach.tap.n = p->queue_pairs;
	p->attach.tap.fd = fake_fd;
	p->attach.tap.name = "fake";
}

static int op_port_open(struct fabric_port *p, unsigned int queue_pairs, struct err *err)
{
	int r;

	note(FF_OPEN, "open:%u", queue_pairs);
	assert_in_range(queue_pairs, 1, ARRAY_SIZE(fake_fd));
	assert_false(ff_port_of(p)->open);
	assert_int_equal(p->attach.kind, ATTACH_NONE);
	r = begin(p, FF_OPEN, err);
	ff_port_of(p)->open = r >= 0;
	if (!r)
		give(p);
	return r;
}

/* Also of one that is still being opened, of which nothing is heard any more. */
static int op_port_close(struct fabric_port *p)
{
	struct ff_port *own = ff_port_of(p);

	note(FF_CLOSE, "close");
	assert_true(own->open);
	own->open = false;
	if (own->op == FF_OPEN)
		own->busy = false;
	return begin(p, FF_CLOSE, NULL);
}

static void op_announce(struct fabric_port *p, const uint8_t *mac)
{
	(void)p;
	(void)mac;
}

static const struct fabric_ops ops = {
	.type = "fake",
	.size = sizeof(struct fabric),
	.port_size = sizeof(struct ff_port),
	.can = op_can,
	.gives = op_gives,
	.init = op_init,
	.set = op_set,
	.free = op_free,
	.check = op_check,
	.get = op_get,
	.fdb = op_fdb,
	.netdev_changed = op_netdev_changed,
	.port_init = op_port_init,
	.port_added = op_port_added,
	.port_free = op_port_free,
	.port_set = op_port_set,
	.port_changed = op_port_changed,
	.port_get_stats = op_port_get_stats,
	.port_open = op_port_open,
	.port_close = op_port_close,
	.announce = op_announce,
};

/* In place of the real table. */
const struct fabric_ops *fabric_ops_of(const struct fabric_type *type)
{
	(void)type;
	return &ops;
}

static const struct err *reason(int r, struct err *err)
{
	*err = (struct err){0};
	if (r < 0)
		err_set(err, -r, "mtu", "scripted");
	return r < 0 ? err : NULL;
}

void ff_answer(struct fabric *f, int r)
{
	struct err err;

	fabric_answer(f, ff.call, r, reason(r, &err));
}

void ff_port_answer(struct fabric_port *p, int r)
{
	struct ff_port *own = ff_port_of(p);
	struct err err;

	assert_true(own->busy);
	own->busy = false;
	if (own->op == FF_OPEN) {
		own->open = r >= 0;
		if (r >= 0)
			give(p);
	}
	fabric_port_answer(p, own->call, r, reason(r, &err));
}
