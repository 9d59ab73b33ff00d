/* SPDX-License-Identifier: Apache-2.0 */

/* UDP between two machines, measured like netperf's UDP_STREAM and UDP_RR, plus what those lack: a stream's
 * rate is raised until the receiver's maximum shows, and round trips have percentiles.
 *
 *   bench-net serve PORT
 *   bench-net stream ADDRESS PORT SIZE SECONDS    seconds for each rate
 *   bench-net rr ADDRESS PORT SIZE SECONDS
 *
 * A datagram begins with its kind and its stream's number. The server sends requests back, counts a stream's
 * data, and answers a query with what it counted. */

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SIZE_MAX_UDP 65507
#define BUFFER       (4 << 20) /* bytes of a socket's buffers, where the kernel allows it */
#define FIRST_RATE   2000.0    /* datagrams a second */
#define RATE_STEPS   20        /* at most */
#define RATE_GROWTH  1.5
#define PAST_THE_TOP 0.7 /* received, relative to the best so far: no need to look further */
#define REPLY_MS     200
#define QUERIES      50
#define SAMPLES      (1u << 20)
#define CLOCK_EVERY  16 /* datagrams: reading the clock for each would distort the measurement */

enum kind { REQUEST = 0x71, DATA, QUERY, ANSWER };

struct head {
	uint32_t kind, stream;
	uint64_t packets, bytes, ns; /* in an answer; ns: from the first to (about) the last */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int make_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = BUFFER;
	struct timeval timeout = {.tv_usec = REPLY_MS * 1000};

	if (fd < 0)
		err(1, "socket");
	/* FORCE needs root, which we may not be. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	return fd;
}

static long number(const char *text, long min, long max)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (!*text || *end || value < min || value > max)
		errx(2, "%s: must be a number from %ld to %ld", text, min, max);
	return value;
}

static struct sockaddr_in address_of(const char *host, const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(port, 1, 65535))};

	if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
		errx(2, "%s: not an IPv4 address", host);
	return a;
}

static void serve(const char *port)
{
	static uint8_t buf[65536];
	struct sockaddr_in here = address_of("0.0.0.0", port);
	struct head count = {0};
	uint64_t first = 0;
	int fd = make_socket();

	if (bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0)
		err(1, "port %s", port);
	puts("serving");
	fflush(stdout);
	for (;;) {
		struct sockaddr_in peer;
		socklen_t peer_len = sizeof(peer);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&peer, &peer_len);
		struct head head;

		if (n < (ssize_t)sizeof(head))
			continue;
		memcpy(&head, buf, sizeof(head));
		switch (head.kind) {
		case REQUEST:
			sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&peer, peer_len);
			break;
		case DATA:
			if (head.stream != count.stream) {
				count = (struct head){.kind = ANSWER, .stream = head.stream};
				first = now_ns();
			}
			count.packets++;
			count.bytes += (uint64_t)n;
			if (count.packets % CLOCK_EVERY == 0)
				count.ns = now_ns() - first;
			break;
		case QUERY:
			head = head.stream == count.stream
				       ? count
				       : (struct head){.kind = ANSWER, .stream = head.stream};
			sendto(fd, &head, sizeof(head), 0, (struct sockaddr *)&peer, peer_len);
			break;
		default:
			break;
		}
	}
}

static int connected(const char *host, const char *port)
{
	struct sockaddr_in there = address_of(host, port);
	int fd = make_socket();

	if (connect(fd, (struct sockaddr *)&there, sizeof(there)) < 0)
		err(1, "%s", host);
	return fd;
}

struct outcome { /* bits a second */
	double sent, received;
};

/* What the server counted. What is still in flight arrives before the query, unless it is lost. */
static struct head ask(int fd, uint32_t stream)
{
	struct head query = {.kind = QUERY, .stream = stream}, answer;

	for (int i = 0; i < QUERIES; i++) {
		ssize_t n;

		if (send(fd, &query, sizeof(query), 0) < 0 && errno != ENOBUFS && errno != ECONNREFUSED)
			err(1, "query");
		do {
			n = recv(fd, &answer, sizeof(answer), 0);
			if (n == (ssize_t)sizeof(answer) && answer.kind == ANSWER && answer.stream == stream)
				return answer;
		} while (n >= 0);
	}
	errx(1, "the server does not answer");
}

/* Sleeps: the sender should load the machine with nothing but sending. */
static uint64_t sleep_until(uint64_t when)
{
	struct timespec ts = {.tv_sec = (time_t)(when / 1000000000u), .tv_nsec = (long)(when % 1000000000u)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	return now_ns();
}

/* Datagrams at a rate (per second; 0: as fast as possible) for some time. */
static struct outcome run_rate(int fd, uint32_t stream, uint8_t *buf, size_t size, double seconds,
			       double rate)
{
	struct head head = {.kind = DATA, .stream = stream};
	uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9), now = start, sent = 0, tries = 0;
	struct head got;
	double took;

	memcpy(buf, &head, sizeof(head));
	while (now < end) {
		if (rate > 0 && (double)sent >= (double)(now - start) / 1e9 * rate) {
			now = sleep_until(start + (uint64_t)((double)(sent + 1) / rate * 1e9));
			continue;
		}
		if (send(fd, buf, size, 0) >= 0)
			sent++;
		else if (errno != ENOBUFS && errno != ECONNREFUSED)
			err(1, "send");
		if (rate > 0 || ++tries % CLOCK_EVERY == 0)
			now = now_ns();
	}
	took = (double)(now - start) / 1e9;
	got = ask(fd, stream);
	/* A receiver that lags continues after the sender: use its own time. */
	return (struct outcome){(double)sent * (double)size * 8 / took,
				(double)got.bytes * 8 /
					((double)got.ns / 1e9 > took ? (double)got.ns / 1e9 : took)};
}

static void stream(const char *host, const char *port, size_t size, double seconds)
{
	uint32_t id = (uint32_t)now_ns() | 1;
	uint8_t *buf = calloc(1, size);
	int fd = connected(host, port);
	struct outcome all = {0}, best = {0};
	double rate = FIRST_RATE;

	if (!buf)
		err(1, "buffer");
	prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* ns */
	for (int i = 0; i < RATE_STEPS; i++, rate *= RATE_GROWTH) {
		struct outcome o = run_rate(fd, id++, buf, size, seconds, rate);

		if (o.received > best.received)
			best = o;
		/* The sender's own limit, or past the receiver's. */
		if (o.sent < 0.9 * rate * (double)size * 8 || o.received < PAST_THE_TOP * best.received)
			break;
	}
	all = run_rate(fd, id, buf, size, seconds, 0);
	if (all.received > best.received)
		best = all;
	printf("{\"sent\": %.0f, \"received\": %.0f, \"received_of\": %.0f, \"received_at_full_rate\": "
	       "%.0f}\n",
	       all.sent, best.received, best.sent, all.received);
	free(buf);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void rr(const char *host, const char *port, size_t size, double seconds)
{
	uint32_t *ns = calloc(SAMPLES, sizeof(*ns)), n = 0, lost = 0;
	uint8_t *buf = calloc(1, SIZE_MAX_UDP);
	int fd = connected(host, port);
	uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9), now = start;

	if (!ns || !buf)
		err(1, "buffers");
	for (uint32_t id = 1; now < end && n < SAMPLES; id++) {
		struct head head = {.kind = REQUEST, .stream = id}, answer = {0};
		uint64_t began = now;
		ssize_t got;

		memcpy(buf, &head, sizeof(head));
		if (send(fd, buf, size, 0) < 0)
			err(1, "send");
		do { /* skip the answer to a datagram that was given up */
			got = recv(fd, buf, SIZE_MAX_UDP, 0);
			if (got >= (ssize_t)sizeof(answer))
				memcpy(&answer, buf, sizeof(answer));
		} while (got >= 0 && answer.stream != id);
		now = now_ns();
		if (got < 0)
			lost++;
		else
			ns[n++] = (uint32_t)(now - began);
	}
	if (!n)
		errx(1, "no answer");
	qsort(ns, n, sizeof(*ns), compare);
	printf("{\"rate\": %.1f, \"p50_ns\": %u, \"p90_ns\": %u, \"p99_ns\": %u, \"lost\": %u}\n",
	       n / ((double)(now - start) / 1e9), ns[(n - 1) / 2], ns[(uint64_t)(n - 1) * 90 / 100],
	       ns[(uint64_t)(n - 1) * 99 / 100], lost);
	free(ns);
	free(buf);
}

static double seconds_of(const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (!*text || *end || !(value > 0 && value <= 3600))
		errx(2, "%s: must be seconds", text);
	return value;
}

int main(int argc, char *argv[])
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0) {
		serve(argv[2]);
	} else if (argc == 6 && (strcmp(argv[1], "stream") == 0 || strcmp(argv[1], "rr") == 0)) {
		size_t size = (size_t)number(argv[4], sizeof(struct head), SIZE_MAX_UDP);

		(argv[1][0] == 's' ? stream : rr)(argv[2], argv[3], size, seconds_of(argv[5]));
	} else {
		fputs("usage: bench-net serve PORT | stream ADDRESS PORT SIZE SECONDS | rr ADDRESS PORT SIZE "
		      "SECONDS\n",
		      stderr);
		return 2;
	}
	return fflush(stdout) ? 1 : 0;
}
