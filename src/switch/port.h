/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A port of the embedded switch and the queues behind it.
 *
 * Theory of operation. Everything a worker reads of a port is published by pointer (RCU, liburcu's qsbr
 * flavour): its configuration, its set of receive queues. The main thread replaces the pointer, waits for a
 * grace period (every worker has finished its current burst) and frees the old object. A queue is in use
 * between port_queue_start() and port_queue_stop(); after the latter returned, no thread holds a pointer into
 * it or into guest memory. A transmit queue belongs to one worker, which alone touches its ring. A receive
 * queue is filled by whichever worker has a frame for it, under the queue's own lock: held for one burst,
 * never waited for while another lock is held.
 *
 * Thread-safety: functions named port_*: main thread. Fields: as said at each. */

#include "settings/counters.h"
#include "settings/settings.h"
#include "switch/burst.h"
#include "switch/pkt.h"
#include "switch/shaper.h"
#include "vhost/vring.h"

/* Reads a pointer that the main thread publishes. Our own, because liburcu's is a function call for code that
 * does not include its LGPL headers. */
#define rcu_load(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)

struct control_box;
struct worker;
struct sw;
struct sw_port;

/* What forwarding needs of a port's settings; immutable once published. */
struct port_conf {
	uint64_t mac; /* first of `macs`: the usual one */
	bool link_up, spoofchk, trusted, promisc;
	bool learn;      /* source MACs of this port are learned */
	bool all_groups; /* it gets every multicast frame; otherwise those of `groups` */
	enum vlan_mode mode;
	uint16_t vlan; /* access: VLAN key */
	uint8_t pcp;
	struct shaper_conf rate;
	uint32_t max_frame;    /* bytes without a tag: MTU and the Ethernet header */
	uint64_t trunk[64];    /* trunk: as vlan_settings.trunk */
	unsigned int n_macs;   /* addresses that the port may send from */
	unsigned int n_groups; /* after the others in macs[], in ascending order */
	uint64_t group_bits; /* GROUP_BIT() of each of them: a group without its bit need not be searched for */
	uint64_t macs[];
};
#define GROUP_BIT(mac) (1ULL << (((mac)*0x9e3779b97f4a7c15ULL) >> 58))

enum poll_kind { POLL_WAKE, POLL_QUEUE, POLL_UPLINK };
struct poll_source { /* what a worker's epoll event points to */
	enum poll_kind kind;
};

struct sw_queue {
	struct virtq vr;
	struct sw_port *port;
	unsigned int hdr_len; /* 10 or 12: virtio-net header (virtio 1.3 §5.1.6) */
	uint32_t lock;        /* receive queues, with several workers */
	unsigned int index;
	struct poll_source source; /* transmit queues: the kick descriptor */
	struct worker *worker;     /* transmit queues */
	int kickfd;
	bool mergeable;
	bool discard;        /* transmit queue that is started but not enabled: drained, nothing sent */
	bool active;         /* its worker polls it */
	bool throttled;      /* its worker: throttled: not active, it may not send before `resume_at` */
	int active_pos;      /* its worker: position in the list of the active or of the throttled ones */
	uint64_t resume_at;  /* its worker, ns; 0: not throttled */
	uint64_t busy_until; /* its worker, ns: keep polling until then although nothing arrives */
	unsigned int quiet;  /* its worker: polls in vain since something arrived */
} cache_aligned;

struct rx_set { /* receive queues in use; immutable once published */
	unsigned int n;
	struct sw_queue *q[];
};

enum port_kind { PORT_FUNCTION, PORT_UPLINK };

struct sw_port {
	/* workers */
	struct sw *sw;
	struct port_conf *conf;   /* RCU */
	struct rx_set *rx;        /* RCU, NULL: none; functions */
	struct uplink *uplink;    /* RCU, NULL: gone; uplinks */
	struct port_stats *stats; /* one for each worker, written by that worker alone; see counter_file.h */
	struct control_box *control; /* a virtual PF's function 0; NULL: control frames are dropped */
	enum port_kind kind;
	struct shaper shaper;
	bool learn_full; /* enough learned: do not report more */
	uint64_t id;     /* never used again */

	/* main thread */
	struct sw_queue *queue[VHOST_USER_MAX_QUEUES];
	const struct port_stats *base; /* where counting began; NULL: at 0, and `stats` are the port's own */
	unsigned int learned;
	void *owner; /* the fabric's record of it */
} cache_aligned;

/* Counts a frame that the port was given, if it was for more than one receiver. Worker's thread. */
static inline void port_count_group(struct port_stats *stats, const struct pkt *p)
{
	if (likely(!(p->head[0] & 1)))
		return;
	if (mac_load(p->head) == MAC_KEY_BROADCAST)
		stats->rx_broadcast++;
	else
		stats->rx_multicast++;
}

/* Starts a queue of a function. -ENOMEM, -EINVAL. */
int port_queue_start(struct sw_port *port, const struct vhost_queue *q);
/* Stops it; see vhost_user_ops.queue_stop. */
void port_queue_stop(struct sw_port *port, unsigned int index, uint16_t *ret_avail_idx,
		     uint16_t *ret_used_idx);
void port_queue_enable(struct sw_port *port, unsigned int index, bool enable);
void port_queue_call(struct sw_port *port, unsigned int index, int callfd);
/* The sum over the workers. */
void port_get_stats(const struct sw_port *port, struct port_stats *ret);

/* Gives n frames, p and those that follow it by pkt.next, to a function's receive queues, and counts all of
 * them. Worker's thread. `tag`: they leave with a VLAN tag. burst_calls() makes the calls. */
void port_deliver(struct worker *w, struct sw_port *port, struct pkt *p, unsigned int n, bool tag);
/* Gives a function's guest a control frame, whatever its link and VLAN; counts nothing. -ENOTCONN: no receive
 * queue, -EAGAIN: no buffer for it. Worker's thread. */
int port_deliver_control(struct worker *w, struct sw_port *port, struct pkt *p);
/* Prefetches what delivery to these groups is going to need. Worker's thread. */
void port_hint_rx(const struct burst_group *groups, unsigned int n);
/* Takes a visit's frames from a transmit queue into the worker's burst, which has room for them; returns how
 * many. 0 with q->resume_at set: it has frames, and may not send them before that time. Worker's thread. */
unsigned int port_take_tx(struct worker *w, struct sw_queue *q);
/* Reads and switches what was taken. What exceeds a visit's share goes back to the ring: s->n is what
 * remains. Worker's thread. */
void port_read_tx(struct worker *w, struct burst_source *s);
