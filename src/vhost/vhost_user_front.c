/* SPDX-License-Identifier: Apache-2.0 */

#include "vhost/vhost_user_front.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "vhost/vhost_user_priv.h"

#define TIMER_ACCURACY_US 5000

struct vu_request { /* waits to be sent, or for its answer */
	struct vu_request *next;
	uint64_t deadline;
	struct vu_header hdr;
	unsigned int nfds;
	int fds[VU_MAX_FDS]; /* our own, until it is sent */
	uint8_t payload[];
};

struct request_list {
	struct vu_request *head, **tail;
};

struct vu_front {
	int fd; /* -1: over */
	bool ack;
	const struct vu_front_events *events;
	void *ctx;
	sd_event_source *io, *timer, *end;
	struct request_list unsent, owed;
	struct vu_msg in;
	size_t got;
	int error;
	char why[160];
};

enum answer {
	ANSWER_ACK, /* if acknowledgements are on */
	ANSWER_NONE,
	ANSWER_U64,
	ANSWER_STATE,
	ANSWER_LOG,
};

/* What this end sends, and what comes back. */
static const struct {
	const char *name;
	enum answer answer;
} rows[] = {
	[VU_GET_FEATURES] = {"GET_FEATURES", ANSWER_U64},
	[VU_SET_FEATURES] = {"SET_FEATURES", ANSWER_ACK},
	[VU_SET_OWNER] = {"SET_OWNER", ANSWER_ACK},
	[VU_SET_MEM_TABLE] = {"SET_MEM_TABLE", ANSWER_ACK},
	[VU_SET_LOG_BASE] = {"SET_LOG_BASE", ANSWER_LOG},
	[VU_SET_VRING_NUM] = {"SET_VRING_NUM", ANSWER_ACK},
	[VU_SET_VRING_ADDR] = {"SET_VRING_ADDR", ANSWER_ACK},
	[VU_SET_VRING_BASE] = {"SET_VRING_BASE", ANSWER_ACK},
	[VU_GET_VRING_BASE] = {"GET_VRING_BASE", ANSWER_STATE},
	[VU_SET_VRING_KICK] = {"SET_VRING_KICK", ANSWER_ACK},
	[VU_SET_VRING_CALL] = {"SET_VRING_CALL", ANSWER_ACK},
	[VU_SET_VRING_ERR] = {"SET_VRING_ERR", ANSWER_ACK},
	[VU_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", ANSWER_U64},
	[VU_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", ANSWER_ACK},
	[VU_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", ANSWER_U64},
	[VU_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", ANSWER_ACK},
	[VU_SEND_RARP] = {"SEND_RARP", ANSWER_NONE},
	[VU_NET_SET_MTU] = {"NET_SET_MTU", ANSWER_ACK},
	[VU_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", ANSWER_U64},
	[VU_ADD_MEM_REG] = {"ADD_MEM_REG", ANSWER_ACK},
	[VU_REM_MEM_REG] = {"REM_MEM_REG", ANSWER_ACK},
	[VU_SET_STATUS] = {"SET_STATUS", ANSWER_ACK},
};

static void list_append(struct request_list *list, struct vu_request *q)
{
	q->next = NULL;
	*list->tail = q;
	list->tail = &q->next;
}

static struct vu_request *list_take(struct request_list *list)
{
	struct vu_request *q = list->head;

	list->head = q->next;
	if (!list->head)
		list->tail = &list->head;
	return q;
}

static void request_free(struct vu_request *q)
{
	for (unsigned int i = 0; i < q->nfds; i++)
		close_fd(&q->fds[i]);
	free(q);
}

static void list_clear(struct request_list *list)
{
	while (list->head)
		request_free(list_take(list));
}

static void hang_up(struct vu_front *f)
{
	f->io = sd_event_source_disable_unref(f->io);
	f->timer = sd_event_source_disable_unref(f->timer);
	close_fd(&f->fd);
	list_clear(&f->unsent);
	list_clear(&f->owed);
	vu_msg_close_fds(&f->in);
}

void vu_front_fail(struct vu_front *f, int r, const char *fmt, ...)
{
	va_list ap;

	if (f->error)
		return;
	f->error = r;
	va_start(ap, fmt);
	vsnprintf(f->why, sizeof(f->why), fmt, ap);
	va_end(ap);
	hang_up(f);
	sd_event_source_set_enabled(f->end, SD_EVENT_ONESHOT);
}

static int on_end(sd_event_source *source, void *userdata)
{
	struct vu_front *f = userdata;
	char why[sizeof(f->why)];

	(void)source;
	memcpy(why, f->why, sizeof(why)); /* it may be freed from the callback */
	f->events->closed(f->ctx, f->error, why);
	return 0;
}

/* The timer is set to the first deadline of the waiting requests; usually all have the same. */
static void arm(struct vu_front *f)
{
	uint64_t first = UINT64_MAX;

	for (const struct vu_request *q = f->owed.head; q; q = q->next)
		first = MIN(first, q->deadline);
	for (const struct vu_request *q = f->unsent.head; q; q = q->next)
		first = MIN(first, q->deadline);
	if (first == UINT64_MAX) {
		sd_event_source_set_enabled(f->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(f->timer, first);
	sd_event_source_set_enabled(f->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vu_front *f = userdata;

	(void)source;
	(void)usec;
	if (f->owed.head)
		vu_front_fail(f, -ETIMEDOUT, "the back-end did not answer %s in time",
			      rows[f->owed.head->hdr.request].name);
	else if (f->unsent.head)
		vu_front_fail(f, -ETIMEDOUT, "the back-end does not read its messages");
	return 0;
}

/* 1: sent; 0: the socket is full; else the connection is over. */
static int send_now(struct vu_front *f, const struct vu_header *hdr, const void *payload, const int *fds,
		    unsigned int nfds)
{
	ssize_t n = vu_send_fds(f->fd, hdr, payload, hdr->size, fds, nfds);

	if (n == (ssize_t)(VU_HEADER_SIZE + hdr->size))
		return 1;
	if (n == -EAGAIN)
		return 0;
	if (n >= 0) /* the stream is out of sync */
		vu_front_fail(f, -EPROTO, "the back-end accepted only part of a message");
	else if (n == -EPIPE || n == -ECONNRESET)
		vu_front_fail(f, -ECONNRESET, "the back-end closed the connection");
	else
		vu_front_fail(f, (int)n, "cannot send to the back-end: %s", strerror((int)-n));
	return -EPIPE;
}

/* A request has been sent: it is owed an answer, or is finished. */
static void was_sent(struct vu_front *f, struct vu_request *q)
{
	if (q->hdr.flags & VU_FLAG_NEED_REPLY || rows[q->hdr.request].answer > ANSWER_NONE)
		list_append(&f->owed, q);
	else
		request_free(q);
}

static void flush(struct vu_front *f)
{
	while (f->unsent.head) {
		struct vu_request *q = f->unsent.head;
		int r = send_now(f, &q->hdr, q->payload, q->fds, q->nfds);

		if (r < 0)
			return;
		if (r == 0)
			break;
		list_take(&f->unsent);
		for (unsigned int i = 0; i < q->nfds; i++)
			close_fd(&q->fds[i]);
		q->nfds = 0;
		was_sent(f, q);
	}
	sd_event_source_set_io_events(f->io, f->unsent.head ? EPOLLIN | EPOLLOUT : EPOLLIN);
	arm(f);
}

/* Whether the message is what the head of the queue is owed; *ret_size: bytes for the owner. */
static bool fits(struct vu_front *f, const struct vu_request *q, uint32_t *ret_size)
{
	const struct vu_msg *msg = &f->in;
	enum answer answer = rows[q->hdr.request].answer;
	uint32_t size = msg->hdr.size;

	if (msg->nfds) {
		vu_front_fail(f, -EPROTO, "the back-end sent descriptors with its answer to %s",
			      rows[q->hdr.request].name);
		return false;
	}
	/* "The spec is not clear": SET_LOG_BASE is answered with a u64 or with nothing. */
	if (size != (answer == ANSWER_STATE ? sizeof(msg->payload.state) : sizeof(msg->payload.u64)) &&
	    !(answer == ANSWER_LOG && size == 0)) {
		vu_front_fail(f, -EPROTO, "the back-end's answer to %s has %u bytes",
			      rows[q->hdr.request].name, size);
		return false;
	}
	if ((answer == ANSWER_ACK || answer == ANSWER_LOG) && msg->payload.u64) {
		vu_front_fail(f, -EREMOTEIO, "the back-end refused %s", rows[q->hdr.request].name);
		return false;
	}
	*ret_size = answer == ANSWER_ACK || answer == ANSWER_LOG ? 0 : size;
	return true;
}

static void take_answer(struct vu_front *f)
{
	struct vu_request *q = f->owed.head;
	uint32_t request = f->in.hdr.request, size;
	union vu_payload payload;

	if (!q) {
		vu_front_fail(f, -EPROTO, "the back-end sent an answer without a request (%u)", request);
		return;
	}
	if (request != q->hdr.request) {
		vu_front_fail(f, -EPROTO, "the back-end answered request %u instead of %s", request,
			      rows[q->hdr.request].name);
		return;
	}
	if (!fits(f, q, &size))
		return;
	request_free(list_take(&f->owed));
	arm(f);
	f->got = 0;
	payload = f->in.payload;
	f->events->answered(f->ctx, request, &payload, size); /* may free f */
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct vu_front *f = userdata;
	const char *why = "";
	int r;

	(void)source;
	if (revents & EPOLLOUT) {
		flush(f);
		if (f->error)
			return 0;
	}
	/* One per turn: the reaction to an answer may end the connection, or free this front-end. */
	r = vu_frame_receive(fd, true, &f->in, &f->got, &why);
	if (r == -ENOTCONN)
		vu_front_fail(f, -ECONNRESET, "the back-end closed the connection");
	else if (r == -EPROTO)
		vu_front_fail(f, r, "bad message from the back-end: %s", why);
	else if (r < 0)
		vu_front_fail(f, r, "cannot receive from the back-end: %s", strerror(-r));
	else if (r > 0)
		take_answer(f);
	return 0;
}

int vu_front_new(sd_event *event, int fd, const struct vu_front_events *events, void *ctx,
		 struct vu_front **ret)
{
	struct vu_front *f = calloc(1, sizeof(*f));
	int r;

	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	f->fd = fd;
	f->events = events;
	f->ctx = ctx;
	f->unsent.tail = &f->unsent.head;
	f->owed.tail = &f->owed.head;
	r = sd_event_add_io(event, &f->io, fd, EPOLLIN, on_io, f);
	if (r >= 0)
		r = sd_event_add_time(event, &f->timer, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_US, on_timer, f);
	if (r >= 0)
		r = sd_event_source_set_enabled(f->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(event, &f->end, on_end, f);
	if (r >= 0)
		r = sd_event_source_set_enabled(f->end, SD_EVENT_OFF);
	if (r < 0) {
		vu_front_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void vu_front_free(struct vu_front *f)
{
	if (!f)
		return;
	hang_up(f);
	sd_event_source_disable_unref(f->end);
	free(f);
}

void vu_front_set_ack(struct vu_front *f)
{
	f->ack = true;
}

void vu_front_send(struct vu_front *f, uint32_t request, const void *payload, uint32_t size, const int *fds,
		   unsigned int nfds, uint64_t deadline)
{
	bool ack = f->ack && rows[request].answer == ANSWER_ACK;
	struct vu_request *q;
	int r = 0;

	if (f->error)
		return;
	q = calloc(1, sizeof(*q) + size);
	if (!q) {
		vu_front_fail(f, -ENOMEM, "not enough memory for a message to the back-end");
		return;
	}
	q->hdr = (struct vu_header){request, VU_VERSION | (ack ? VU_FLAG_NEED_REPLY : 0), size};
	q->deadline = deadline;
	if (!f->unsent.head)
		r = send_now(f, &q->hdr, payload, fds, nfds);
	if (r < 0) {
		request_free(q);
		return;
	}
	if (r > 0) {
		was_sent(f, q);
		arm(f);
		return;
	}
	if (size)
		memcpy(q->payload, payload, size);
	for (; q->nfds < nfds; q->nfds++) {
		q->fds[q->nfds] = fcntl(fds[q->nfds], F_DUPFD_CLOEXEC, 3);
		if (q->fds[q->nfds] < 0) {
			vu_front_fail(f, -errno, "cannot keep a descriptor for the back-end: %s",
				      strerror(errno));
			request_free(q);
			return;
		}
	}
	list_append(&f->unsent, q);
	sd_event_source_set_io_events(f->io, EPOLLIN | EPOLLOUT);
	arm(f);
}

bool vu_front_idle(const struct vu_front *f)
{
	return !f->error && !f->owed.head && !f->unsent.head;
}
