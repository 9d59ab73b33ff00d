/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the load generator's modes get, and what each is. A mode returns when it has measured; it has written
 * its figures as one line of JSON to standard output. */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "port.h"

/* How long to wait for the first frame: a busy machine may give a short while to others alone. */
#define LOAD_PATIENCE_NS 10000000000u

struct load_options {
	double warmup, seconds;
	uint32_t sizes[64]; /* of frames, in turn */
	unsigned int n_sizes;
	uint32_t window; /* frames on their way, of all ports together */
	uint32_t flows;
	uint32_t fanout;  /* ports that each port sends to, in turn */
	bool fixed_pairs; /* port 0 with 1, 2 with 3, … instead */
	uint32_t count;   /* round trips */
	uint32_t idle_us; /* of silence before each */
	uint32_t piece;   /* bytes of a receive buffer, for large frames */
};

struct load {
	struct load_options o;
	struct port *ports;
	unsigned int n_ports;
};

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Each port broadcasts until it has heard from another one, so that a switch that learns knows them all. No frame is
 * in flight when this returns. */
void load_announce(struct load *l);

/* Frames go from port to port without end; what is counted has arrived. */
void load_circulate(struct load *l);
/* Port 0 broadcasts; copies that arrived are counted. */
void load_broadcast(struct load *l);
/* One frame at a time from port 0 to port 1 and back: the time it takes, there and back, and one way. */
void load_round_trip(struct load *l);
/* Port 0 sends 64 KiB TCP segments to port 1, for it to receive as they are. */
void load_stream(struct load *l);
/* The bytes of load_stream, over the same memory, copied by this program. */
void load_memcpy(struct load *l);
/* Does nothing until standard input ends: what idle ports cost the switch is measured elsewhere. */
void load_hold(struct load *l);
