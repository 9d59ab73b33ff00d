/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The front-end side of a vhost-user connection: sends requests to a back-end and receives its answers.
 *
 * Theory of operation. Requests are sent in order and at once, as far as the socket takes them; the rest
 * waits here. A back-end answers requests in their order, so the answers owed form a queue, and what arrives
 * must match its head: request, flags, size, no descriptors. Once acknowledgements are negotiated, each
 * request without an answer of its own asks for one; an acknowledgement of failure ends the connection like
 * any other error.
 *
 * Every request has a deadline by which it must be sent and answered. The connection ends when one passes,
 * when the back-end closes it or sends something unexpected, or when an acknowledgement reports failure. Then
 * the socket is closed at once, waiting requests are dropped, and `closed` is called from the event loop,
 * never from within a call here; either callback may free the connection.
 *
 * The back-end is not trusted: it gets the memory of the guest, but no power over this process. There is no
 * channel for requests of its own (BACKEND_REQ is never negotiated): none of them would be of use here.
 *
 * Thread-safety: main thread. */

#include <systemd/sd-event.h>

#include "util/util.h"
#include "vhost/vhost_user_proto.h"

struct vu_front;

struct vu_front_events {
	/* An answer, or an acknowledgement (size 0: the payload is of no interest). `payload` is valid until
	 * return. */
	void (*answered)(void *ctx, uint32_t request, const union vu_payload *payload, uint32_t size);
	/* The connection is over; no further callback. r: -ECONNRESET: the back-end closed it; -ETIMEDOUT;
	 * -EPROTO; -EREMOTEIO: it refused; or a system call's. `why`: a sentence without a period, about the
	 * back-end. */
	void (*closed)(void *ctx, int r, const char *why);
};

/* Takes `fd`, a connected stream socket, also on failure. */
int vu_front_new(sd_event *event, int fd, const struct vu_front_events *events, void *ctx,
		 struct vu_front **ret);
void vu_front_free(struct vu_front *f); /* takes NULL */
/* From now on every request is acknowledged (VU_PF_REPLY_ACK). */
void vu_front_set_ack(struct vu_front *f);
/* Sends a request; payload and descriptors (at most VU_MAX_FDS) are borrowed. deadline: µs of
 * CLOCK_MONOTONIC. Failures are reported by closed(). */
void vu_front_send(struct vu_front *f, uint32_t request, const void *payload, uint32_t size, const int *fds,
		   unsigned int nfds, uint64_t deadline);
/* True if everything has been sent and answered. A connection that is over is never idle. */
bool vu_front_idle(const struct vu_front *f);
/* Ends it, as if the back-end had misbehaved. */
void vu_front_fail(struct vu_front *f, int r, const char *fmt, ...) printf_like(3, 4);
