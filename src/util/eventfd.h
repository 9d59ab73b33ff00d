/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* eventfds that other processes hold, too: kick, call and error descriptors of vhost-user. O_NONBLOCK belongs to the
 * open file, so any holder can clear it at any time, and a write() waits for as long as the counter is full. The
 * kernel itself signals eventfds without waiting; asynchronous I/O (io_submit(2) with IOCB_FLAG_RESFD) makes it do
 * so. For an eventfd that vpfd does not share, use eventfd_write() instead. */

#include <stdbool.h>

/* Adds 1 without waiting, whatever the file's flags; a full counter stays full, and its readers are woken as well.
 * 0, or the error: -EINVAL where it is no eventfd; what signal_eventfd_prepare() returns. For any thread. */
int signal_eventfd(int fd);
/* What this thread needs for the above, so that the first signal is as good as others: 0; -EAGAIN if fs.aio-max-nr
 * allows no more (each thread takes 64 at least); -ENOSYS without CONFIG_AIO. Released at the thread's end. */
int signal_eventfd_prepare(void);
/* Whether that is what it is; nothing is signalled. */
bool is_eventfd(int fd);
