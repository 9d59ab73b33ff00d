/* SPDX-License-Identifier: Apache-2.0 */

/* Signals to eventfds that somebody else holds. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "util/eventfd.h"
#include "util/util.h"

#define FULL    (UINT64_MAX - 1) /* the most that a write can put there */
#define SIGNALS 200000

static void counts(void **state)
{
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	eventfd_t value;

	(void)state;
	for (unsigned int i = 0; i < 1000; i++) /* more than the completions that a thread keeps */
		assert_int_equal(signal_eventfd(fd), 0);
	assert_int_equal(eventfd_read(fd, &value), 0);
	assert_int_equal(value, 1000);
	assert_int_equal(eventfd_read(fd, &value), -1);
}

static void full_and_blocking(void **state)
{
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC);
	eventfd_t value;

	(void)state;
	assert_int_equal(eventfd_write(fd, FULL), 0);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(signal_eventfd(fd), 0);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK); /* the flags are their owner's */
	assert_int_equal(eventfd_read(fd, &value), 0);
	assert_true(value >= FULL);
}

struct peer {
	int fd;
	bool stop;
};

/* Makes the file blocking as fast as it can. */
static void *insist(void *arg)
{
	struct peer *peer = arg;

	while (!__atomic_load_n(&peer->stop, __ATOMIC_RELAXED))
		fcntl(peer->fd, F_SETFL, 0);
	return NULL;
}

static void peer_that_insists(void **state)
{
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC);
	struct peer peer = {.fd = fd};
	pthread_t thread;

	(void)state;
	assert_int_equal(eventfd_write(fd, FULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, insist, &peer), 0);
	for (unsigned int i = 0; i < SIGNALS; i++)
		assert_int_equal(signal_eventfd(fd), 0);
	__atomic_store_n(&peer.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

static void *signal_once(void *arg)
{
	assert_int_equal(signal_eventfd(*(int *)arg), 0);
	return NULL;
}

/* Contexts of this process: the kernel maps each. */
static unsigned int contexts(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned int n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		n += strstr(line, "/[aio]") != NULL;
	fclose(maps);
	return n;
}

/* They are a resource of the whole system: a thread's goes with it. */
static void threads(void **state)
{
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	eventfd_t value;

	(void)state;
	assert_int_equal(signal_eventfd_prepare(), 0);
	assert_int_equal(contexts(), 1);
	for (unsigned int i = 0; i < 3; i++) {
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, signal_once, &fd), 0);
		pthread_join(thread, NULL);
	}
	assert_int_equal(eventfd_read(fd, &value), 0);
	assert_int_equal(value, 3);
	assert_int_equal(contexts(), 1);
}

static void what_is_none(void **state)
{
	_cleanup_close_ int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sigset_t none;
	eventfd_t value;
	int other[6], ends[2];

	(void)state;
	sigemptyset(&none);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	other[0] = epoll_create1(EPOLL_CLOEXEC);
	other[1] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	other[2] = signalfd(-1, &none, SFD_CLOEXEC);
	other[3] = inotify_init1(IN_CLOEXEC);
	other[4] = ends[0];
	other[5] = ends[1];
	for (unsigned int i = 0; i < ARRAY_SIZE(other); i++) {
		assert_true(other[i] >= 0);
		assert_false(is_eventfd(other[i]));
		assert_int_equal(signal_eventfd(other[i]), -EINVAL);
		close_fd(&other[i]);
	}
	assert_false(is_eventfd(-1));
	assert_false(is_eventfd(other[0]));
	for (unsigned int i = 0; i < 200; i++)
		assert_true(is_eventfd(event));
	assert_int_equal(eventfd_read(event, &value), -1); /* nobody was signalled */
	/* whatever the thread has signalled meanwhile */
	for (unsigned int i = 0; i < 1000; i++) {
		assert_int_equal(signal_eventfd(event), 0);
		assert_true(is_eventfd(event));
	}
	assert_int_equal(eventfd_read(event, &value), 0);
	assert_int_equal(value, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts),
		cmocka_unit_test(full_and_blocking),
		cmocka_unit_test(peer_that_insists),
		cmocka_unit_test(threads),
		cmocka_unit_test(what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
