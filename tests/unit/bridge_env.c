/* SPDX-License-Identifier: Apache-2.0 */

#include "bridge_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "net/tap_queues.h"
#include "switch/pkt.h"
#include "types_env.h"

static void on_link(void *ctx, struct fabric_port *p, bool up)
{
	(void)p;
	(void)up;
	((struct br_env *)ctx)->links++;
}

static void on_conflict(void *ctx, struct fabric_port *p, const uint8_t mac[6])
{
	(void)p;
	(void)mac;
	((struct br_env *)ctx)->conflicts++;
}

static void on_uplink(void *ctx, struct fabric *f, bool carrier)
{
	(void)f;
	(void)carrier;
	((struct br_env *)ctx)->uplinks++;
}

static void on_trouble(void *ctx, struct fabric *f, struct fabric_port *p, const char *why)
{
	struct br_env *e = ctx;

	(void)f;
	(void)p;
	e->troubles++;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static void on_remade(void *ctx, struct fabric_port *p)
{
	(void)p;
	((struct br_env *)ctx)->remade++;
}

static void on_lost(void *ctx, struct fabric_port *p)
{
	(void)p;
	((struct br_env *)ctx)->lost++;
}

static const struct fabric_events events = {
	.link_changed = on_link,
	.mac_conflict = on_conflict,
	.uplink_changed = on_uplink,
	.trouble = on_trouble,
	.port_remade = on_remade,
	.port_lost = on_lost,
};

static void on_netdev(void *ctx, const char *name, int ifindex, bool carrier, bool gone)
{
	struct br_env *e = ctx;

	if (e->f)
		fabric_netdev_changed(e->f, name, ifindex, carrier, gone);
}

int br_setup(void **state)
{
	struct br_env *e = calloc(1, sizeof(*e));
	struct pf_settings pf;
	struct err err;

	assert_non_null(e);
	if (unshare(CLONE_NEWNET) < 0 || !(bridge_host() & BRIDGE_HOST_TAP)) {
		free(e);
		return 0; /* not root, or no bridges */
	}
	assert_int_equal(sd_event_new(&e->event), 0);
	assert_int_equal(netdev_monitor_new(e->event, on_netdev, e, &e->monitor, &err), 0);
	fabric_settings_init(&e->s, "lan");
	e->s.type = &fabric_type_bridge;
	set_bridge(&e->s, BR_NAME);
	pf_settings_init(&pf, "pf");
	e->policy = pf.policy;
	*state = e;
	return 0;
}

void br_settle(struct br_env *e)
{
	while (sd_event_run(e->event, 0) > 0)
		;
}

void br_stop(struct br_env *e)
{
	while (e->n) {
		br_close_port(e, --e->n);
		fabric_port_free(e->p[e->n]);
	}
	fabric_free(e->f);
	e->f = NULL;
}

int br_teardown(void **state)
{
	struct br_env *e = *state;

	if (!e)
		return 0;
	br_stop(e);
	tap_free(e->wire);
	netdev_monitor_free(e->monitor);
	sd_event_unref(e->event);
	free(e);
	return 0;
}

bool br_sh(const char *command)
{
	return system(command) == 0; /* NOLINT(cert-env33-c): the test's own words */
}

int br_new(struct br_env *e, struct err *err)
{
	return fabric_new(&(struct fabric_config){.event = e->event, .events = &events, .ctx = e}, &e->s,
			  NULL, &e->f, err);
}

struct br_env *br_begin(void **state, bool vlan)
{
	struct br_env *e = *state;
	struct err err = {0};

	if (!e || (vlan && !(bridge_host() & BRIDGE_HOST_VLAN)) || !(bridge_host() & BRIDGE_HOST_PROGRAM))
		skip();
	if (br_new(e, &err) < 0)
		fail_msg("%s", err.text);
	return e;
}

struct function_settings br_settings(unsigned int n)
{
	struct function_settings s;

	function_settings_init(&s);
	memcpy(s.mac, (uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(n + 1)}, 6);
	return s;
}

struct function_settings br_access(unsigned int n, uint16_t vid, uint8_t pcp)
{
	struct function_settings s = br_settings(n);

	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = vid, .pcp = pcp, .tpid = 0x8100};
	return s;
}

struct function_settings br_trunk(unsigned int n, unsigned int first, unsigned int last, bool untagged)
{
	struct function_settings s = br_settings(n);

	s.vlan.mode = VLAN_TRUNK;
	s.vlan.trunk[0] = untagged;
	for (unsigned int v = first; v <= last; v++)
		s.vlan.trunk[v / 64] |= 1ULL << (v % 64);
	return s;
}

void br_open_port(struct br_env *e, unsigned int n, unsigned int queues)
{
	struct err err = {0};

	if (fabric_port_open(e->p[n], &e->use[n], queues, NULL, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(e->p[n]->attach.kind, ATTACH_TAP);
	e->at[n] = e->p[n]->attach;
	assert_int_equal(tap_set_queues(e->at[n].tap.fd, e->at[n].tap.n, 1), 0);
}

void br_close_port(struct br_env *e, unsigned int n)
{
	fabric_port_close(e->p[n], &e->use[n]);
}

unsigned int br_add(struct br_env *e, const struct function_settings *s)
{
	struct function_settings usual = br_settings(e->n);
	unsigned int n = e->n;

	assert_int_equal(fabric_port_add(e->f, "pf0", n, s ? s : &usual, &e->policy, NULL, &e->p[n]), 0);
	e->n++;
	br_open_port(e, n, 1);
	return n;
}

void br_set(struct br_env *e, unsigned int n, const struct function_settings *s)
{
	struct err err = {0};

	if (fabric_port_set(e->p[n], s, &e->policy, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

void br_add_wire(struct br_env *e)
{
	struct err err;

	assert_int_equal(tap_new("wire", 1, &e->wire, &err), 0);
	assert_int_equal(tap_set_queues(e->wire->fd, 1, 1), 0);
	assert_true(br_sh("ip link set wire addrgenmode none master " BR_NAME " && ip link set wire up"));
	if (bridge_host() & BRIDGE_HOST_VLAN)
		assert_true(br_sh("bridge vlan add dev wire vid 2-4094"));
	BR_UNTIL(e, bridge_of(e->f)->carrier);
}

struct br_frame br_make(unsigned int dst, unsigned int src, uint8_t mark, const uint32_t *tags)
{
	struct br_frame f = {.len = 60};
	uint8_t *at = f.bytes + 12;

	if (dst == 0xff)
		memset(f.bytes, 0xff, 6);
	else
		memcpy(f.bytes, (uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(dst + 1)}, 6);
	memcpy(f.bytes + 6, (uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(src + 1)}, 6);
	for (; tags && *tags; tags++, at += 4) {
		at[0] = (uint8_t)(*tags >> 24);
		at[1] = (uint8_t)(*tags >> 16);
		at[2] = (uint8_t)(*tags >> 8);
		at[3] = (uint8_t)*tags;
	}
	at[0] = BR_TEST_TYPE >> 8;
	at[1] = BR_TEST_TYPE & 0xff;
	at[2] = mark;
	return f;
}

struct br_frame br_grown(struct br_frame f)
{
	f.len += 4;
	return f;
}

struct br_frame br_shrunk(struct br_frame f)
{
	f.len -= 4;
	return f;
}

void br_put(int fd, struct br_frame f)
{
	uint8_t hdr[12] = {0};
	struct iovec iov[2] = {{hdr, sizeof(hdr)}, {f.bytes, f.len}};

	(void)!writev(fd, iov, 2); /* where the tap is gone, or has no carrier, the frame is lost */
}

struct br_frame br_get(int fd)
{
	for (;;) {
		struct br_frame f = {0};
		uint8_t hdr[12];
		struct iovec iov[2] = {{hdr, sizeof(hdr)}, {f.bytes, sizeof(f.bytes)}};
		ssize_t n = readv(fd, iov, 2);
		unsigned int type = 12;

		if (n < 14 + 12)
			return (struct br_frame){0};
		f.len = (uint32_t)n - 12;
		while (load_be16(f.bytes + type) == 0x8100 || load_be16(f.bytes + type) == 0x88a8)
			type += 4;
		if (load_be16(f.bytes + type) == BR_TEST_TYPE)
			return f;
	}
}

void br_send_from(struct br_env *e, unsigned int n, unsigned int dst, uint8_t mark)
{
	br_put(e->at[n].tap.fd[0], br_make(dst, n, mark, NULL));
}

void br_expect(int fd, struct br_frame want)
{
	struct br_frame got = br_get(fd);

	if (got.len != want.len || memcmp(got.bytes, want.bytes, want.len) != 0) {
		for (unsigned int i = 0; i < 24; i++)
			print_message("%02x ", got.bytes[i]);
		fail_msg("a frame of %u bytes, not that of %u", got.len, want.len);
	}
}

void br_expect_none(int fd)
{
	assert_int_equal(br_get(fd).len, 0);
}

void br_expect_at(struct br_env *e, unsigned int n, unsigned int dst, unsigned int src, uint8_t mark)
{
	br_expect(e->at[n].tap.fd[0], br_make(dst, src, mark, NULL));
}

void br_expect_nothing(struct br_env *e)
{
	for (unsigned int i = 0; i < e->n; i++)
		if (e->p[i]->attach.kind != ATTACH_NONE)
			br_expect_none(e->at[i].tap.fd[0]);
	if (e->wire)
		br_expect_none(e->wire->fd[0]);
}

struct port_stats br_stats(struct br_env *e, unsigned int n)
{
	struct port_stats s;

	fabric_port_get_stats(e->p[n], &s);
	return s;
}
