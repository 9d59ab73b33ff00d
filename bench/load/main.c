/* SPDX-License-Identifier: Apache-2.0 */

/* The load generator of the benchmarks: guests' drivers at native speed, without guests. One thread drives
 * all ports; the caller pins it (taskset). */

#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frame.h"
#include "load.h"

#define ANNOUNCE_NS 15000000000u
#define SILENCE_NS  30000000u

/* What `stream` requires, and what makes Open vSwitch believe that a guest accepts segments. */
#define STREAM_REQUIRED                                                                                      \
	(VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) |                                \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) |                         \
	 VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define STREAM_WANTED                                                                                        \
	(VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) |                          \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_ECN) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN))

static const char usage[] =
	"usage: bench-load MODE [OPTION…] PORT…\n"
	"PORT: SOCKET,MAC[,VLAN]     VLAN: the id of the 802.1Q tag that its frames carry\n"
	"                            SOCKET: with listen: before its path, this end listens for the back-end\n"
	"\n"
	"circulate   frames circulate between the ports; prints how many arrived\n"
	"broadcast   the first port sends broadcasts; prints how many copies arrived\n"
	"round-trip  one frame at a time from the first port to the second and back; prints times\n"
	"stream      64 KiB TCP segments from the first port to the second\n"
	"memcpy      the same bytes, copied by this program; takes no PORT\n"
	"hold        ports that do nothing, until standard input ends\n"
	"\n"
	"--warmup S, --seconds S   not measured, measured\n"
	"--sizes N,…               bytes of frames, in turn (64)\n"
	"--window N                frames in flight, over all ports (512)\n"
	"--flows N                 different UDP flows, in turn (1)\n"
	"--fanout N                ports that each port sends to, in turn (1)\n"
	"--fixed-pairs             the first port with the second, the third with the fourth, …\n"
	"--ring N                  descriptors of a ring (1024)\n"
	"--count N                 round trips; pieces of memcpy's target (10000)\n"
	"--idle-us N               microseconds of silence before each round trip (0)\n"
	"--piece N                 bytes of a receive buffer of `stream` (4096)\n"
	"--small-pages             without huge pages\n";

static const struct {
	const char *name;
	void (*run)(struct load *l);
	unsigned int min_ports;
} modes[] = {
	{"circulate", load_circulate, 2},   {"broadcast", load_broadcast, 2},
	{"round-trip", load_round_trip, 2}, {"stream", load_stream, 2},
	{"memcpy", load_memcpy, 0},         {"hold", load_hold, 1},
};

/* Returns how many frames there were. */
static unsigned int drop_received(struct port *p)
{
	uint16_t n = ring_used(&p->rx);
	uint32_t len;

	for (uint16_t i = 0; i < n; i++)
		p->free[p->n_free++] = ring_take(&p->rx, &len);
	port_turn(p);
	return n;
}

/* Drops what comes, until nothing has come for a while; counts it by port. */
static void until_silence(struct load *l, uint64_t silence, uint64_t *received)
{
	uint64_t last = now_ns();

	while (now_ns() - last < silence)
		for (unsigned int i = 0; i < l->n_ports; i++) {
			unsigned int n = drop_received(&l->ports[i]);

			received[i] += n;
			if (n)
				last = now_ns();
		}
}

static void announce(struct load *l, uint64_t *received)
{
	static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	for (unsigned int i = 0; i < l->n_ports; i++) {
		struct port *p = &l->ports[i];
		uint8_t *buf;

		if (!p->n_free || !p->tx.n_free)
			continue;
		buf = port_buf(p, p->free[--p->n_free]);
		memset(buf, 0, PORT_HDR);
		frame_make(buf + PORT_HDR, FRAME_MIN, everybody, p->mac, p->vlan);
		buf[PORT_HDR + 12 + frame_tag_len(buf + PORT_HDR)] = 0x88; /* EtherType 0x8800: unassigned */
		port_send(p, p->free[p->n_free], FRAME_MIN);
		ring_publish(&p->tx);
		for (unsigned int j = 0; j < l->n_ports; j++)
			received[j] += drop_received(&l->ports[j]);
	}
}

static bool all_heard(const struct load *l, const uint64_t *received)
{
	for (unsigned int i = 0; i < l->n_ports; i++)
		if (!received[i])
			return false;
	return true;
}

/* A back-end may start serving a port some time after it has acknowledged it. */
void load_announce(struct load *l)
{
	uint64_t *received = calloc(l->n_ports, sizeof(*received)), deadline = now_ns() + ANNOUNCE_NS;

	if (!received)
		err(1, "ports");
	do {
		announce(l, received);
		until_silence(l, SILENCE_NS, received);
		if (now_ns() > deadline)
			errx(1, "after %u s some ports do not hear each other",
			     (unsigned int)(ANNOUNCE_NS / 1000000000u));
	} while (l->n_ports > 1 && !all_heard(l, received));
	free(received);
}

void load_hold(struct load *l)
{
	char byte;

	load_announce(l);
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

static uint32_t number(const char *text, uint32_t min, uint32_t max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!*text || *end || value < min || value > max)
		errx(2, "%s: must be a number from %u to %u", text, min, max);
	return (uint32_t)value;
}

static void parse_sizes(struct load_options *o, char *list)
{
	char *save = NULL;

	o->n_sizes = 0;
	for (char *word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		if (o->n_sizes == sizeof(o->sizes) / sizeof(o->sizes[0]))
			errx(2, "too many sizes");
		o->sizes[o->n_sizes++] = number(word, FRAME_MIN, PORT_BUF_ROOM - PORT_HDR);
	}
	if (!o->n_sizes)
		errx(2, "a size is missing");
}

static double seconds(const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (!*text || *end || !(value >= 0 && value <= 3600))
		errx(2, "%s: must be seconds from 0 to 3600", text);
	return value;
}

/* Splits the word in place; the socket's path stays in it. */
static const char *parse_port(struct port *p, char *word)
{
	char *save = NULL, *path = strtok_r(word, ",", &save), *mac = strtok_r(NULL, ",", &save);
	char *vlan = strtok_r(NULL, ",", &save);

	if (!mac || sscanf(mac, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &p->mac[0], &p->mac[1], &p->mac[2],
			   &p->mac[3], &p->mac[4], &p->mac[5]) != 6)
		errx(2, "%s: must be SOCKET,MAC[,VLAN]", path ? path : "");
	p->vlan = vlan ? (uint16_t)number(vlan, 1, 4094) : 0;
	return path;
}

int main(int argc, char *argv[])
{
	static const struct option long_options[] = {
		{"warmup", required_argument, NULL, 'w'}, {"seconds", required_argument, NULL, 's'},
		{"sizes", required_argument, NULL, 'S'},  {"window", required_argument, NULL, 'W'},
		{"flows", required_argument, NULL, 'f'},  {"fanout", required_argument, NULL, 'o'},
		{"fixed-pairs", no_argument, NULL, 'x'},  {"ring", required_argument, NULL, 'r'},
		{"count", required_argument, NULL, 'c'},  {"idle-us", required_argument, NULL, 'i'},
		{"piece", required_argument, NULL, 'p'},  {"small-pages", no_argument, NULL, 'm'},
		{"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
	};
	struct load l = {.o = {.warmup = 0.5,
			       .seconds = 1,
			       .sizes = {FRAME_MIN},
			       .n_sizes = 1,
			       .window = 512,
			       .flows = 1,
			       .fanout = 1,
			       .count = 10000,
			       .piece = 4096}};
	struct port_options po = {.ring = 1024, .buf_room = PORT_BUF_ROOM};
	unsigned int mode = 0;
	bool huge = true, stream;
	struct memory m;
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'w':
			l.o.warmup = seconds(optarg);
			break;
		case 's':
			l.o.seconds = seconds(optarg);
			break;
		case 'S':
			parse_sizes(&l.o, optarg);
			break;
		case 'W':
			l.o.window = number(optarg, 1, 1 << 20);
			break;
		case 'f':
			l.o.flows = number(optarg, 1, 60000);
			break;
		case 'o':
			l.o.fanout = number(optarg, 1, PORT_MAX);
			break;
		case 'x':
			l.o.fixed_pairs = true;
			break;
		case 'r':
			po.ring = (uint16_t)number(optarg, 16, RING_MAX);
			break;
		case 'c':
			l.o.count = number(optarg, 1, 100000000);
			break;
		case 'i':
			l.o.idle_us = number(optarg, 0, 10000000);
			break;
		case 'p':
			l.o.piece = number(optarg, 256, 65536);
			break;
		case 'm':
			huge = false;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (po.ring & (po.ring - 1))
		errx(2, "--ring: must be a power of 2");
	while (optind < argc && mode < sizeof(modes) / sizeof(modes[0]) &&
	       strcmp(argv[optind], modes[mode].name) != 0)
		mode++;
	if (optind == argc || mode == sizeof(modes) / sizeof(modes[0])) {
		fputs(usage, stderr);
		return 2;
	}
	l.n_ports = (unsigned int)(argc - optind - 1);
	if (l.n_ports < modes[mode].min_ports || l.n_ports > PORT_MAX || (l.o.fixed_pairs && l.n_ports % 2))
		errx(2, "%s: not with %u ports", modes[mode].name, l.n_ports);
	stream = modes[mode].run == load_stream;
	if (stream) {
		po.buf_room = l.o.piece;
		po.required = STREAM_REQUIRED;
		po.features = STREAM_WANTED;
	}
	if (stream && l.o.window > po.ring)
		errx(2, "--window: must fit in the ring");
	po.tx_bufs = po.ring;
	if (l.n_ports) {
		memory_init(&m, l.n_ports * port_memory(&po) + (stream ? (size_t)l.o.window * (1 << 17) : 0),
			    huge);
		l.ports = calloc(l.n_ports, sizeof(*l.ports));
		if (!l.ports)
			err(1, "ports");
	}
	for (unsigned int i = 0; i < l.n_ports; i++) {
		const char *path = parse_port(&l.ports[i], argv[optind + 1 + (int)i]);

		port_open(&l.ports[i], path, &m, &po);
	}
	modes[mode].run(&l);
	for (unsigned int i = 0; i < l.n_ports; i++)
		port_close(&l.ports[i]);
	free(l.ports);
	return fflush(stdout) ? 1 : 0;
}
