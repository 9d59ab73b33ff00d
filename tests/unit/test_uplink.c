/* SPDX-License-Identifier: Apache-2.0 */

/* The fabric's way out: a tap, and a netdev (one end of a veth pair), in a network namespace of the test's
 * own.
 *
 *	guests --- fabric --- uplink ~~~ peer: a packet socket that plays the rest of the world
 *
 * Needs CAP_SYS_ADMIN and CAP_NET_ADMIN, /dev/net/tun, and `ip`; is skipped without. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "sw_env.h"

#define F(bit)  VIRTIO_BIT(VIRTIO_NET_F_##bit)
#define WAIT_MS 20000

struct variant {
	enum uplink_type type;
	unsigned int workers;
};

struct env {
	struct sw_env *e;
	const struct variant *v;
	char name[IFNAMSIZ];
	int ifindex;
	int peer; /* packet socket */
};

struct peer_frame {
	struct virtio_net_hdr hdr;
	uint8_t data[FRAME_MAX];
	uint32_t len;
};

static struct frame frame, want;
static struct vguest_frame got;
static struct peer_frame seen;
static const char *no_netns = "not tried";
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t outside[6] = {2, 0, 0, 0, 1, 1}; /* the peer's MAC */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int group_setup(void **state)
{
	(void)state;
	no_netns = NULL;
	if (unshare(CLONE_NEWNET) < 0)
		no_netns = "no network namespace: needs CAP_SYS_ADMIN";
	else if (access("/dev/net/tun", R_OK | W_OK) < 0)
		no_netns = "no /dev/net/tun";
	else if (system("ip link set lo up") != 0)
		no_netns = "`ip` does not work here";
	/* The kernel is not to talk on its own. */
	if (!no_netns) {
		write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
		write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	}
	return 0;
}

static void open_peer(struct env *x, const char *name)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET,
				   .sll_protocol = htons(ETH_P_ALL),
				   .sll_ifindex = (int)if_nametoindex(name)};
	int one = 1;

	assert_true(addr.sll_ifindex > 0);
	close_fd(&x->peer);
	x->peer = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(x->peer >= 0);
	assert_int_equal(setsockopt(x->peer, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(x->peer, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(x->peer, SOL_PACKET, 23 /* PACKET_IGNORE_OUTGOING */, &one, sizeof(one)),
			 0);
	assert_int_equal(bind(x->peer, (struct sockaddr *)&addr, sizeof(addr)), 0);
}

static void make_netdev(struct env *x)
{
	assert_int_equal(system("ip link add vpfup0 type veth peer name vpfpeer0 && ip link set vpfpeer0 mtu "
				"9000 up && "
				"ip link set vpfup0 mtu 9000 up"),
			 0);
	/* The kernel lets frames out some time after the carrier has come, and drops them silently before. */
	assert_int_equal(
		system("for i in $(seq 1000); do "
		       "ip link show vpfup0 | grep -q 'state UP' && "
		       "ip link show vpfpeer0 | grep -q 'state UP' && exit 0; sleep 0.01; done; exit 1"),
		0);
	(void)x;
}

static int setup(void **state)
{
	struct env *x = calloc(1, sizeof(*x));
	struct fabric_settings s;
	void *sw;

	assert_non_null(x);
	x->v = *state;
	x->peer = -1;
	*state = x;
	if (no_netns)
		return 0;
	sw = (void *)(uintptr_t)x->v->workers;
	sw_env_setup(&sw);
	x->e = sw;
	fabric_settings_init(&s, "f");
	s.uplink = x->v->type;
	snprintf(s.uplink_name, sizeof(s.uplink_name), "%s", x->v->type == UPLINK_TAP ? "vpftap0" : "vpfup0");
	snprintf(x->name, sizeof(x->name), "%s", s.uplink_name);
	if (x->v->type == UPLINK_NETDEV)
		make_netdev(x);
	sw_env_fabric(x->e, &s);
	x->ifindex = (int)if_nametoindex(x->name);
	if (x->v->type == UPLINK_TAP)
		assert_int_equal(system("ip link set vpftap0 mtu 9000"), 0);
	open_peer(x, x->v->type == UPLINK_TAP ? "vpftap0" : "vpfpeer0");
	fabric_netdev_changed(&x->e->f->base, x->name, x->ifindex, true, false);
	return 0;
}

static int teardown(void **state)
{
	struct env *x = *state;
	void *sw = x->e;

	close_fd(&x->peer);
	if (sw) {
		sw_env_teardown(&sw);
		if (x->v->type == UPLINK_NETDEV && if_nametoindex("vpfup0"))
			assert_int_equal(system("ip link del vpfup0"), 0);
		assert_int_equal(if_nametoindex("vpftap0"), 0); /* goes with its descriptors */
	}
	free(x);
	return 0;
}

#define NEEDS_NETNS(state)                                                                                   \
	do {                                                                                                 \
		if (no_netns) {                                                                              \
			print_message("skipped: %s\n", no_netns);                                            \
			skip();                                                                              \
		}                                                                                            \
	} while (0)

/* The next frame that the peer sees, its tag in the bytes. */
static void peer_receive(struct env *x)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	struct iovec iov[] = {{&seen.hdr, sizeof(seen.hdr)}, {seen.data, sizeof(seen.data) - 4}};
	struct msghdr msg = {
		.msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct pollfd p = {.fd = x->peer, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, WAIT_MS) != 1)
		fail_msg("the peer sees no frame");
	n = recvmsg(x->peer, &msg, 0);
	assert_true(n > (ssize_t)sizeof(seen.hdr));
	seen.len = (uint32_t)n - (uint32_t)sizeof(seen.hdr);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		struct tpacket_auxdata aux;

		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
			continue;
		memmove(seen.data + 16, seen.data + 12, seen.len - 12);
		seen.data[12] = (uint8_t)(aux.tp_vlan_tpid >> 8);
		seen.data[13] = (uint8_t)aux.tp_vlan_tpid;
		seen.data[14] = (uint8_t)(aux.tp_vlan_tci >> 8);
		seen.data[15] = (uint8_t)aux.tp_vlan_tci;
		seen.len += 4;
	}
}

static void peer_send(struct env *x, const struct virtio_net_hdr *hdr, const struct frame *f)
{
	static const struct virtio_net_hdr plain;
	struct iovec iov[] = {{(void *)(uintptr_t)(hdr ? hdr : &plain), sizeof(plain)},
			      {(void *)(uintptr_t)f->data, f->len}};

	assert_int_equal(writev(x->peer, iov, 2), (ssize_t)(sizeof(plain) + f->len));
}

static void expect_at_peer(struct env *x, const struct frame *f)
{
	peer_receive(x);
	assert_int_equal(seen.len, f->len);
	assert_memory_equal(seen.data, f->data, f->len);
}

static void expect_at_guest(struct vguest *g, const struct frame *f)
{
	assert_true(vguest_wait(g, 0, &got, WAIT_MS));
	assert_int_equal(got.len, f->len);
	assert_memory_equal(got.data, f->data, f->len);
}

/* Waits until a counter of the uplink has the value. */
static void expect_uplink_drop(struct env *x, enum drop_reason why, uint64_t n)
{
	struct port_stats s;

	for (unsigned int i = 0; i < WAIT_MS; i++) {
		port_get_stats(x->e->f->uplink_port, &s);
		if (s.tx_drop[why] >= n)
			break;
		poll(NULL, 0, 1);
	}
	assert_int_equal(s.tx_drop[why], n);
}

static void make(const uint8_t dst[6], const uint8_t src[6], uint32_t len, uint32_t seed)
{
	frame_plain(&frame, dst, src, len, seed);
}

static void tag(struct frame *f, uint16_t tpid, uint16_t tci)
{
	memmove(f->data + 16, f->data + 12, f->len - 12);
	f->data[12] = (uint8_t)(tpid >> 8);
	f->data[13] = (uint8_t)tpid;
	f->data[14] = (uint8_t)(tci >> 8);
	f->data[15] = (uint8_t)tci;
	f->len += 4;
}

static void send_frame(struct vguest *g, const struct virtio_net_hdr *hdr)
{
	vguest_send(g, 0, hdr, frame.data, frame.len);
	vguest_flush(g, 0);
}

static void test_out(void **state)
{
	struct env *x = *state;
	struct vguest *a, *b;
	uint8_t mac[6];

	NEEDS_NETNS(state);
	a = sw_env_add(x->e, NULL, NULL);
	b = sw_env_add(x->e, NULL, NULL);
	sw_env_mac(mac, 0);
	for (uint32_t len = 60; len <= 1514; len += 61) {
		make(outside, mac, len, len);
		send_frame(a, NULL);
		expect_at_peer(x, &frame);
		assert_int_equal(seen.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
	}
	assert_false(vguest_recv(b, 0, &got));
	make(broadcast, mac, 100, 1);
	send_frame(a, NULL);
	expect_at_peer(x, &frame);
	expect_at_guest(b, &frame);
	/* What stays inside is not seen outside: the next thing there is the next frame to it. */
	sw_env_mac(mac, 1);
	make(mac, (uint8_t[]){2, 0, 0, 0, 0, 1}, 100, 2);
	send_frame(a, NULL);
	expect_at_guest(b, &frame);
	make(outside, (uint8_t[]){2, 0, 0, 0, 0, 1}, 100, 3);
	send_frame(a, NULL);
	expect_at_peer(x, &frame);
}

static void test_out_vlans(void **state)
{
	struct env *x = *state;
	struct function_settings s;
	struct vguest *a;
	uint8_t mac[6];

	NEEDS_NETNS(state);
	a = sw_env_add(x->e, NULL, NULL);
	sw_env_mac(mac, 0);
	s = sw_env_settings(0);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 100, .pcp = 5, .tpid = 0x8100};
	sw_env_set(x->e, 0, &s);
	make(outside, mac, 1514, 1);
	send_frame(a, NULL);
	tag(&frame, 0x8100, 100 | 5 << 13);
	expect_at_peer(x, &frame);
	s.vlan.tpid = 0x88a8;
	sw_env_set(x->e, 0, &s);
	make(outside, mac, 1000, 2);
	send_frame(a, NULL);
	tag(&frame, 0x88a8, 100 | 5 << 13);
	expect_at_peer(x, &frame);
	/* A customer's tag inside. */
	make(outside, mac, 1000, 3);
	tag(&frame, 0x8100, 7);
	send_frame(a, NULL);
	tag(&frame, 0x88a8, 100 | 5 << 13);
	expect_at_peer(x, &frame);
	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .tpid = 0x8100, .trunk = {1 | 1 << 9}};
	sw_env_set(x->e, 0, &s);
	make(outside, mac, 60, 4);
	tag(&frame, 0x8100, 9 | 2 << 13);
	send_frame(a, NULL);
	expect_at_peer(x, &frame);
	make(outside, mac, 60, 5);
	send_frame(a, NULL);
	expect_at_peer(x, &frame);
	/* Nothing leaves in a VLAN that is not the guest's. */
	make(outside, mac, 60, 6);
	tag(&frame, 0x8100, 200);
	tag(&frame, 0x8100, 0);
	send_frame(a, NULL);
	make(outside, mac, 60, 7);
	send_frame(a, NULL);
	expect_at_peer(x, &frame);
}

static void test_in(void **state)
{
	struct env *x = *state;
	struct function_settings s;
	struct vguest *a, *b;
	uint8_t a_mac[6], b_mac[6];

	NEEDS_NETNS(state);
	a = sw_env_add(x->e, NULL, NULL);
	b = sw_env_add(x->e, NULL, NULL);
	sw_env_mac(a_mac, 0);
	sw_env_mac(b_mac, 1);
	for (uint32_t len = 60; len <= 1514; len += 61) {
		make(a_mac, outside, len, len);
		peer_send(x, NULL, &frame);
		expect_at_guest(a, &frame);
	}
	assert_false(vguest_recv(b, 0, &got));
	make(broadcast, outside, 60, 1);
	peer_send(x, NULL, &frame);
	expect_at_guest(a, &frame);
	expect_at_guest(b, &frame);
	/* An address that no port has, control frames, a VLAN without ports. */
	make((uint8_t[]){2, 9, 9, 9, 9, 9}, outside, 60, 1);
	peer_send(x, NULL, &frame);
	expect_uplink_drop(x, DROP_UNKNOWN_MAC, 1);
	make(a_mac, outside, 60, 1);
	frame.data[12] = 0x88;
	frame.data[13] = 0xb5;
	peer_send(x, NULL, &frame);
	expect_uplink_drop(x, DROP_CONTROL, 1);
	make(a_mac, outside, 60, 1);
	tag(&frame, 0x8100, 55);
	peer_send(x, NULL, &frame);
	expect_uplink_drop(x, DROP_UNKNOWN_MAC, 2);
	/* A guest that may see everything. */
	s = sw_env_settings(1);
	s.trust = true;
	sw_env_set(x->e, 1, &s);
	{
		struct rx_filter f = {.known = true, .promiscuous = true};

		memcpy(f.main_mac, b_mac, 6);
		fabric_port_filter(&x->e->p[1]->base, &f);
	}
	make((uint8_t[]){2, 9, 9, 9, 9, 9}, outside, 60, 2);
	peer_send(x, NULL, &frame);
	expect_at_guest(b, &frame);
	make(a_mac, outside, 60, 3);
	peer_send(x, NULL, &frame);
	expect_at_guest(a, &frame);
	assert_false(vguest_recv(b, 0, &got)); /* it has an owner */
	/* Tagged, to access ports of both kinds. */
	s = sw_env_settings(0);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 55, .tpid = 0x8100};
	sw_env_set(x->e, 0, &s);
	make(a_mac, outside, 1514, 4);
	want = frame;
	tag(&frame, 0x8100, 55 | 3 << 13);
	peer_send(x, NULL, &frame);
	expect_at_guest(a, &want);
	s.vlan.tpid = 0x88a8;
	sw_env_set(x->e, 0, &s);
	make(a_mac, outside, 500, 5);
	tag(&frame, 0x8100, 7);
	want = frame;
	tag(&frame, 0x88a8, 55);
	peer_send(x, NULL, &frame);
	expect_at_guest(a, &want);
	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .tpid = 0x8100, .trunk = {1 << 9}};
	sw_env_set(x->e, 0, &s);
	make(a_mac, outside, 500, 6);
	tag(&frame, 0x8100, 9 | 3 << 13);
	peer_send(x, NULL, &frame);
	expect_at_guest(a, &frame);
}

/* Large frames and unfinished checksums cross in both directions. */
static void test_offloads(void **state)
{
	struct env *x = *state;
	struct vguest_options full = sw_env_options(F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(GUEST_CSUM) |
						    F(GUEST_TSO4) | F(GUEST_TSO6)),
			      none = sw_env_options(0);
	struct vguest *a, *b;

	NEEDS_NETNS(state);
	a = sw_env_add(x->e, NULL, &full);
	b = sw_env_add(x->e, NULL, &none);
	for (unsigned int kind = 0; kind < 4; kind++) {
		struct frame_spec s = frame_tcp(30000), one;
		struct virtio_net_hdr hdr;
		struct function_settings fs = sw_env_settings(0);

		if (kind & 2)
			fs.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 77, .tpid = 0x8100};
		sw_env_set(x->e, 0, &fs);
		s.v6 = kind & 1;
		memcpy(s.dst, outside, 6);
		sw_env_mac(s.src, 0);
		frame_build(&s, true, &frame);
		hdr = frame_hdr(&s, &frame, 1400);
		send_frame(a, &hdr);
		s.tags = kind & 2 ? 1 : 0;
		s.tpid[0] = 0x8100;
		s.tci[0] = 77;
		frame_build(&s, true, &want);
		expect_at_peer(x, &want);
		assert_int_equal(seen.hdr.gso_type, hdr.gso_type);
		assert_int_equal(seen.hdr.gso_size, 1400);
		/* In again, whole. */
		s.tags = 0;
		memcpy(s.src, outside, 6);
		sw_env_mac(s.dst, 0);
		frame_build(&s, true, &want);
		s.tags = kind & 2 ? 1 : 0;
		frame_build(&s, true, &frame);
		hdr = frame_hdr(&s, &frame, 1400);
		peer_send(x, &hdr, &frame);
		expect_at_guest(a, &want);
		s.tags = 0;
		hdr = frame_hdr(&s, &want, 1400);
		assert_int_equal(got.hdr.hdr.flags, hdr.flags);
		assert_int_equal(got.hdr.hdr.gso_type, hdr.gso_type);
		assert_int_equal(got.hdr.hdr.gso_size, 1400);
		assert_int_equal(got.hdr.hdr.csum_start, hdr.csum_start);
		assert_int_equal(got.hdr.hdr.hdr_len, hdr.hdr_len);
		if (kind & 2)
			continue;
		/* To a guest that takes neither. */
		sw_env_mac(s.dst, 1);
		frame_build(&s, true, &frame);
		peer_send(x, &hdr, &frame);
		for (unsigned int i = 0; i < 22; i++) {
			one = s;
			one.offset = 1400 * i;
			one.payload = MIN(30000 - one.offset, 1400u);
			one.seq += one.offset;
			one.id = (uint16_t)(s.id + i);
			if (i < 21)
				one.tcp_flags &= (uint8_t)~0x08;
			frame_build(&one, false, &want);
			expect_at_guest(b, &want);
		}
	}
}

static void test_carrier(void **state)
{
	struct env *x = *state;
	struct builtin_fabric *f;
	struct vguest *a;
	uint8_t mac[6];

	NEEDS_NETNS(state);
	f = x->e->f;
	a = sw_env_add(x->e, NULL, NULL);
	sw_env_mac(mac, 0);
	assert_true(x->e->p[0]->base.link_up);
	fabric_netdev_changed(&f->base, x->name, x->ifindex, false, false);
	assert_false(x->e->p[0]->base.link_up);
	/* Some other netdev. */
	fabric_netdev_changed(&f->base, "other0", x->ifindex + 100, true, false);
	assert_false(x->e->p[0]->base.link_up);
	fabric_netdev_changed(&f->base, x->name, x->ifindex, true, false);
	assert_true(x->e->p[0]->base.link_up);
	/* It is deleted: frames have nowhere to go, nothing spins, nothing leaks; and it comes back. */
	if (x->v->type == UPLINK_TAP)
		return;
	assert_int_equal(system("ip link del vpfup0"), 0);
	fabric_netdev_changed(&f->base, x->name, x->ifindex, false, true);
	assert_false(x->e->p[0]->base.link_up);
	assert_null(f->uplink);
	{
		struct function_settings s = sw_env_settings(0);

		s.link = LINK_ENABLE;
		sw_env_set(x->e, 0, &s);
		make(outside, mac, 60, 1);
		send_frame(a, NULL);
		assert_int_equal(vguest_stats(a).tx_drop[DROP_NO_ROUTE], 1);
	}
	make_netdev(x);
	fabric_netdev_changed(&f->base, x->name, (int)if_nametoindex(x->name), true, false);
	assert_non_null(f->uplink);
	open_peer(x, "vpfpeer0");
	send_frame(a, NULL);
	expect_at_peer(x, &frame);
}

/* The uplink is changed while frames flow through it. */
static void test_replace(void **state)
{
	struct env *x = *state;
	struct fabric_settings s;
	struct vguest *a;
	struct err err;
	uint8_t mac[6];

	NEEDS_NETNS(state);
	a = sw_env_add(x->e, NULL, NULL);
	sw_env_mac(mac, 0);
	make(outside, mac, 60, 1);
	s = x->e->f->base.settings;
	for (unsigned int i = 0; i < 20; i++) {
		for (unsigned int k = 0; k < 10; k++)
			vguest_send(a, 0, NULL, frame.data, frame.len);
		s.uplink = i % 2 ? x->v->type : UPLINK_NONE;
		snprintf(s.uplink_name, sizeof(s.uplink_name), "%s", i % 2 ? x->name : "");
		assert_int_equal(fabric_set(&x->e->f->base, &s, NULL, &err), 0);
		if (i % 2) {
			x->ifindex = (int)if_nametoindex(x->name);
			fabric_netdev_changed(&x->e->f->base, x->name, x->ifindex, true, false);
		}
	}
	vguest_flush(a, 0);
	open_peer(x, x->v->type == UPLINK_TAP ? "vpftap0" : "vpfpeer0");
	send_frame(a, NULL);
	expect_at_peer(x, &frame);
	/* One that cannot be had changes nothing. */
	s.uplink = UPLINK_NETDEV;
	snprintf(s.uplink_name, sizeof(s.uplink_name), "nosuch0");
	assert_int_equal(fabric_set(&x->e->f->base, &s, NULL, &err), -ENODEV);
	assert_string_equal(err.field, "uplink.name");
	s.uplink = UPLINK_TAP;
	snprintf(s.uplink_name, sizeof(s.uplink_name), "lo");
	assert_int_equal(fabric_set(&x->e->f->base, &s, NULL, &err), -EEXIST);
	assert_string_equal(err.field, "uplink.name");
	send_frame(a, NULL);
	expect_at_peer(x, &frame);
}

static const struct variant tap_1 = {UPLINK_TAP, 1}, tap_2 = {UPLINK_TAP, 2}, netdev_1 = {UPLINK_NETDEV, 1},
			    netdev_2 = {UPLINK_NETDEV, 2};

#define TEST(fn, v)                                                                                          \
	{                                                                                                    \
#fn " (" #v ")", fn, setup, teardown, (void *)(uintptr_t) & (v)                              \
	}
#define TESTS(fn) TEST(fn, tap_1), TEST(fn, tap_2), TEST(fn, netdev_1), TEST(fn, netdev_2)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TESTS(test_out),      TESTS(test_out_vlans), TESTS(test_in),
		TESTS(test_offloads), TESTS(test_carrier),   TESTS(test_replace),
	};

	return cmocka_run_group_tests_name("uplink", tests, group_setup, NULL);
}
