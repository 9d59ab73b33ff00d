/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A kernel with vDPA devices such as no test machine has: with a control queue, address spaces, SUSPEND and
 * doorbell pages; that refuse an ioctl, wait in one, or ask for a reset. It stands in for datapath/vdpa/vdpa_sys.h,
 * with a sysfs and a /dev of its own in a scratch directory.
 *
 * What a test sets it sets before the device is opened, or under the lock. */

#include <pthread.h>

#include "datapath/vdpa/vdpa_control.h"
#include "datapath/vdpa/vdpa_netlink.h"
#include "scratch_dir.h"

#define FAKE_VDPA_DEVICES  4
#define FAKE_VDPA_QUEUES   9
#define FAKE_VDPA_COMMANDS 64

struct fake_map {
	uint32_t asid;
	uint64_t iova, size, uaddr;
};

struct fake_command {
	uint8_t class, cmd, data[800];
	size_t len;
};

struct fake_vdpa {
	/* what it is */
	char name[VDPA_NAME_MAX], mgmtdev[VDPA_NAME_MAX], node[160];
	bool there, vduse;
	uint32_t device_id;
	uint64_t features, backend;
	uint32_t vqs, groups, spaces; /* groups 2: the control queue is the last one's */
	uint16_t max_size, max_pairs, mtu;
	uint64_t last; /* address */
	bool doorbells;
	/* how it behaves */
	unsigned long refuse; /* this ioctl fails */
	int refuse_errno;
	unsigned long hang;  /* this one waits until `hang` is cleared and `changed` signalled */
	uint8_t deaf_class;  /* control commands of this class are refused; 0xff: none */
	bool mute;           /* its control queue answers nothing */
	uint8_t deaf_status; /* status bits that it does not take, without a word */
	/* what came */
	int fd;
	uint8_t status;
	uint64_t acked, acked_backend;
	struct fake_map map[32];
	unsigned int n_map, batches, resets, suspends, opens;
	bool in_batch, suspended;
	bool lingers; /* behind VDUSE: was reset, and not asked since whether it has done it */
	struct {
		uint32_t num, asid_group;
		uint16_t base;
		struct vhost_vring_addr addr;
		int kick, call;
		bool enabled;
	} vq[FAKE_VDPA_QUEUES];
	uint32_t asid[2]; /* of the groups */
	int configfd;
	struct fake_command command[FAKE_VDPA_COMMANDS];
	unsigned int n_command;
	bool misplaced; /* something was out of order: an ioctl where none may be, a mapping twice */
	/* its control queue */
	pthread_t thread;
	bool running;
	int wakefd;
};

struct fake_kernel {
	struct scratch scratch;
	char dir[64];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct fake_vdpa dev[FAKE_VDPA_DEVICES];
	struct vdpa_mgmtdev mgmtdev[2];
	unsigned int n_mgmtdev, created, deleted;
	uint64_t refuse_attrs; /* bit VDPA_ATTR_DEV_NET_CFG_*: creating with it is -EOPNOTSUPP */
	struct vdpa_new last_new;
	int new_errno; /* 0: creating works */
	unsigned int list_calls;
};

extern struct fake_kernel *fake_kernel;

int fake_vdpa_setup(void **state);    /* no devices yet */
int fake_vdpa_teardown(void **state); /* fails if one is still open or was misplaced */
/* A device with all that there is, on driver vhost_vdpa (driver NULL: on none). */
struct fake_vdpa *fake_vdpa_add(const char *name, const char *driver);
/* The same behind VDUSE: one queue pair, no control queue, no SUSPEND, resets that take their time. */
struct fake_vdpa *fake_vdpa_add_vduse(const char *name);
struct fake_vdpa *fake_vdpa_get(const char *name);
/* The host's memory at an I/O virtual address; NULL: not mapped. */
void *fake_vdpa_at(const struct fake_vdpa *d, uint32_t asid, uint64_t iova, uint64_t len);
/* The last command of a class; NULL: none came. */
const struct fake_command *fake_vdpa_command(const struct fake_vdpa *d, uint8_t class, uint8_t cmd);
