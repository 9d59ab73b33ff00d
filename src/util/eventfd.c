/* SPDX-License-Identifier: Apache-2.0 */

#include "util/eventfd.h"

#include <linux/aio_abi.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "util/util.h"

#define EVENTS 64 /* completions that a context holds; they are fetched when it is full */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int null_read = -1, null_write = -1, once_error; /* /dev/null, for as long as the process lives */
static _Thread_local aio_context_t context;

static void at_thread_end(void *arg)
{
	(void)arg;
	syscall(SYS_io_destroy, context);
	context = 0;
}

static void open_once(void)
{
	null_read = open("/dev/null", O_RDONLY | O_CLOEXEC);
	null_write = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null_read < 0 || null_write < 0)
		once_error = -errno;
	else
		once_error = -pthread_key_create(&key, at_thread_end);
}

int signal_eventfd_prepare(void)
{
	int r;

	if (likely(context))
		return 0;
	pthread_once(&once, open_once);
	if (once_error)
		return once_error;
	if (syscall(SYS_io_setup, EVENTS, &context) < 0)
		return -errno;
	r = pthread_setspecific(key, &context);
	if (r) {
		syscall(SYS_io_destroy, context);
		context = 0;
	}
	return -r;
}

/* Has the kernel read nothing from /dev/null, and signal the eventfd when that is done, which is at once. */
static int submit_once(int null_fd, int fd)
{
	struct iocb read = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)null_fd,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *one = &read;

	return syscall(SYS_io_submit, context, 1, &one) < 0 ? -errno : 0;
}

static int submit(int null_fd, int fd)
{
	int r = submit_once(null_fd, fd);

	if (r == -EAGAIN) { /* before it looked at anything else */
		struct io_event done[EVENTS];
		struct timespec none = {0};

		while (syscall(SYS_io_getevents, context, 0, EVENTS, done, &none) == EVENTS)
			;
		r = submit_once(null_fd, fd);
	}
	return r;
}

int signal_eventfd(int fd)
{
	int r = signal_eventfd_prepare();

	return unlikely(r < 0) ? r : submit(null_read, fd);
}

bool is_eventfd(int fd)
{
	/* The eventfd is looked at first; then it is found that nothing can be read from the other file (EBADF), and
	 * nothing is signalled. */
	return signal_eventfd_prepare() == 0 && submit(null_write, fd) == -EBADF && fcntl(fd, F_GETFD) >= 0;
}
