/* SPDX-License-Identifier: Apache-2.0 */

#include "tap_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

static const char *missing = "not tried";

const char *tap_env_missing(void)
{
	return missing;
}

static bool write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

int tap_env_group_setup(void **state)
{
	(void)state;
	missing = NULL;
	if (unshare(CLONE_NEWNET) < 0)
		missing = "no network namespace: needs CAP_SYS_ADMIN";
	else if (access("/dev/net/tun", R_OK | W_OK) < 0)
		missing = "no /dev/net/tun";
	else if (system("ip link set lo up") != 0)
		missing = "`ip` does not work here";
	else if (!write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") &&
		 access("/proc/sys/net/ipv6", F_OK) == 0)
		missing = "the kernel cannot be kept from talking by itself";
	return 0;
}

static int open_queue(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), hdr_len = 12;
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE};

	assert_true(fd >= 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", TAP_ENV_NAME);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	assert_int_equal(ioctl(fd, TUNSETVNETHDRSZ, &hdr_len), 0);
	return fd;
}

static int open_peer(void)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET,
				   .sll_protocol = htons(ETH_P_ALL),
				   .sll_ifindex = (int)if_nametoindex(TAP_ENV_NAME)};
	int one = 1, size = 16 << 20, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	assert_true(addr.sll_ifindex > 0);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, 23 /* PACKET_IGNORE_OUTGOING */, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

void tap_env_init(struct tap_env *e, unsigned int workers, unsigned int queues)
{
	struct err err;

	memset(e, 0, sizeof(*e));
	assert_true(queues <= TAP_ENV_QUEUES);
	assert_int_equal(worker_pool_new(workers, 0, NULL, &e->pool, &err), 0);
	for (; e->n_tap < queues; e->n_tap++)
		e->tap_fd[e->n_tap] = open_queue();
	assert_int_equal(system("ip link set " TAP_ENV_NAME " mtu 9000 up"), 0);
	e->peer = open_peer();
}

void tap_env_done(struct tap_env *e)
{
	if (e->pump) {
		pump_stop(e->pump);
		vguest_stop(&e->g);
		pump_free(e->pump);
	}
	for (unsigned int i = 0; i < e->pool->n; i++)
		assert_int_equal(e->pool->worker[i]->queues, 0);
	close_fd(&e->peer);
	for (unsigned int i = 0; i < e->n_tap; i++)
		close_fd(&e->tap_fd[i]);
	assert_int_equal(if_nametoindex(TAP_ENV_NAME), 0); /* goes with its descriptors */
	worker_pool_free(e->pool);
}

void tap_env_guest(struct tap_env *e, const struct vguest_options *o)
{
	struct builtin_port port = {0};

	assert_int_equal(pump_new(e->pool, e->n_tap, e->tap_fd, &e->pump), 0);
	port.port = pump_port(e->pump);
	vguest_start(&e->g, &port, o);
	e->g.fp = NULL;
	assert_int_equal(pump_start(e->pump, e->g.o.features, (1u << o->pairs) - 1), 0);
}

void tap_env_pump_stop(struct tap_env *e)
{
	pump_stop(e->pump);
	for (unsigned int i = 0; i < 2 * e->g.o.pairs; i++)
		vguest_queue_stop(&e->g, i);
}

void tap_env_pump_start(struct tap_env *e)
{
	for (unsigned int i = 0; i < 2 * e->g.o.pairs; i++)
		vguest_queue_start(&e->g, i);
	assert_int_equal(pump_start(e->pump, e->g.o.features, (1u << e->g.o.pairs) - 1), 0);
}

void tap_env_peer_send(struct tap_env *e, const struct virtio_net_hdr *hdr, const void *data, uint32_t len)
{
	static const struct virtio_net_hdr plain;
	struct iovec iov[] = {{(void *)(uintptr_t)(hdr ? hdr : &plain), sizeof(plain)},
			      {(void *)(uintptr_t)data, len}};

	assert_int_equal(writev(e->peer, iov, 2), (ssize_t)(sizeof(plain) + len));
}

bool tap_env_peer_receive(struct tap_env *e, struct peer_frame *f, int ms)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	struct iovec iov[] = {{&f->hdr, sizeof(f->hdr)}, {f->data, sizeof(f->data) - 4}};
	struct msghdr msg = {
		.msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct pollfd p = {.fd = e->peer, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, ms) != 1)
		return false;
	n = recvmsg(e->peer, &msg, 0);
	assert_true(n > (ssize_t)sizeof(f->hdr));
	f->len = (uint32_t)n - (uint32_t)sizeof(f->hdr);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		struct tpacket_auxdata aux;

		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
			continue;
		memmove(f->data + 16, f->data + 12, f->len - 12);
		f->data[12] = (uint8_t)(aux.tp_vlan_tpid >> 8);
		f->data[13] = (uint8_t)aux.tp_vlan_tpid;
		f->data[14] = (uint8_t)(aux.tp_vlan_tci >> 8);
		f->data[15] = (uint8_t)aux.tp_vlan_tci;
		f->len += 4;
	}
	return true;
}

struct traffic {
	struct tap_env *e;
	uint32_t out_sent, out_seen, in_sent, in_seen; /* out: from the guest */
};

#define TRAFFIC_BURST 24u

static void number(struct frame *f, bool out, uint32_t n)
{
	static const uint8_t guest[6] = {2, 0, 0, 0, 0, 1}, peer[6] = {2, 0, 0, 0, 1, 1};

	frame_plain(f, out ? peer : guest, out ? guest : peer, 60 + n % 1400, n);
	memcpy(f->data + 20, &n, sizeof(n));
}

static void expect_number(const uint8_t *data, uint32_t len, bool out, uint32_t n)
{
	static struct frame want;
	uint32_t seen;

	memcpy(&seen, data + 20, sizeof(seen));
	if (seen != n)
		fail_msg("%s: number %u where %u should be", out ? "from the guest" : "to the guest", seen,
			 n);
	number(&want, out, n);
	assert_int_equal(len, want.len);
	assert_memory_equal(data, want.data, len);
}

/* What is there already, on both sides. */
static void take(struct traffic *t, int ms)
{
	static struct peer_frame seen;
	static struct vguest_frame got;

	while (t->out_seen < t->out_sent && tap_env_peer_receive(t->e, &seen, ms))
		expect_number(seen.data, seen.len, true, t->out_seen++);
	for (unsigned int pair = 0; pair < t->e->g.o.pairs; pair++)
		while (t->in_seen < t->in_sent &&
		       (ms ? vguest_wait(&t->e->g, pair, &got, ms) : vguest_recv(&t->e->g, pair, &got)))
			expect_number(got.data, got.len, false, t->in_seen++);
}

void tap_env_traffic(struct tap_env *e, unsigned int n, unsigned int every, void (*move)(void *arg),
		     void *arg)
{
	struct traffic t = {.e = e};
	struct frame f;

	for (unsigned int i = 1; i <= n; i++) {
		/* As many under way as a ring has buffers for: none has to be lost. */
		while (t.out_sent - t.out_seen >= TRAFFIC_BURST || t.in_sent - t.in_seen >= TRAFFIC_BURST) {
			uint32_t before = t.out_seen + t.in_seen;

			take(&t, 0);
			if (t.out_seen + t.in_seen == before)
				take(&t, TAP_WAIT_MS);
			assert_int_not_equal(t.out_seen + t.in_seen, before);
		}
		number(&f, true, t.out_sent);
		vguest_send(&e->g, 0, NULL, f.data, f.len);
		t.out_sent++;
		number(&f, false, t.in_sent);
		tap_env_peer_send(e, NULL, f.data, f.len);
		t.in_sent++;
		if (move && i % every == 0)
			move(arg);
	}
	while (t.out_seen < t.out_sent || t.in_seen < t.in_sent) {
		uint32_t before = t.out_seen + t.in_seen;

		take(&t, TAP_WAIT_MS);
		assert_int_not_equal(t.out_seen + t.in_seen, before);
	}
	take(&t, 0);
}
