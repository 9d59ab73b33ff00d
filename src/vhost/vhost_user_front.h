/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The front-end's end of a vhost-user connection: requests go to a back-end, its answers come back.
 *
 * Theory of operation. Requests are sent in order and at once, as far as the socket takes them; the rest
 * waits here. A back-end answers in the order in which it was asked, so the answers owed are a queue, and
 * whatever arrives has to fit its head: request, flags, size, no descriptors. Once acknowledgements were
 * negotiated, each request without an answer of its own asks for one; one that says "failed" is an end like
 * any other.
 *
 * Every request has a time by which it must be gone and answered. The connection ends when that passes, when
 * the back-end closes it or sends what was not asked for, or when an acknowledgement says no. The socket is
 * closed at once then, what waits is dropped, and `closed` is called from the event loop, never from within a
 * call here; from either callback the connection may be freed.
 *
 * The back-end is not trusted: it gets the memory of the guest, but not this process. There is no channel for
 * requests of its own (BACKEND_REQ is never negotiated): nothing in them would be of use here.
 *
 * Thread-safety: main thread. */

#include <systemd/sd-event.h>

#include "util/util.h"
#include "vhost/vhost_user_proto.h"

struct vu_front;

struct vu_front_events {
	/* An answer, or an acknowledgement (size 0: the payload is of no interest). `payload` until return. */
	void (*answered)(void *ctx, uint32_t request, const union vu_payload *payload, uint32_t size);
	/* The connection is over, nothing follows. r: -ECONNRESET: the back-end closed it; -ETIMEDOUT,
	 * -EPROTO, -EREMOTEIO: it refused; or a system call's. `why`: a sentence without a period, about the
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
 * CLOCK_MONOTONIC. What goes wrong is told by closed(). */
void vu_front_send(struct vu_front *f, uint32_t request, const void *payload, uint32_t size, const int *fds,
		   unsigned int nfds, uint64_t deadline);
/* True if all is sent and answered. A connection that is over is never idle. */
bool vu_front_idle(const struct vu_front *f);
/* Ends it, as if the back-end had done something wrong. */
void vu_front_fail(struct vu_front *f, int r, const char *fmt, ...) printf_like(3, 4);
