/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the vhost-user tests start from: a device in a directory of its own, an owner that writes down what it
 * is told, and a front-end. Its teardown fails if the test left descriptors or mappings behind. */

#include <systemd/sd-event.h>

#include "vhost/vhost_user.h"
#include "vu_client.h"

#define F_EVENT_IDX (UINT64_C(1) << 29)
#define F_VERSION_1 (UINT64_C(1) << 32)
#define F_PACKED    (UINT64_C(1) << 34)
#define F_LOG_ALL   (UINT64_C(1) << 26)
#define F_PROTOCOL  (UINT64_C(1) << 30)

struct vu_env_queue {
	const struct vhost_queue *q; /* NULL: not started */
	struct vhost_queue copy;     /* as it was at the last start */
	unsigned int starts, stops;
	uint16_t avail_idx, used_idx; /* what stopping answers, if `moved` */
	bool moved;
	int enabled; /* last queue_enable, -1: none */
	int callfd;  /* last queue_call, -2: none */
};

struct vu_env {
	sd_event *event;
	char dir[64], path[96];
	struct vhost_user *vu;
	struct vu_client c;
	struct vu_env_queue q[VHOST_USER_MAX_QUEUES];
	unsigned int connects, disconnects, events, errors;
	char why[256], text[256]; /* of the last disconnect (empty: orderly) and the last event */
	int start_result;
	bool disconnect_in_start, free_in_disconnected;
	/* quiesce: whether it holds back, calls vhost_user_resume() or vhost_user_disconnect() from within;
	 * how often it was asked, and for what the last time (-2: never) */
	bool hold, resume_in_quiesce, disconnect_in_quiesce;
	unsigned int asks;
	int asked;
	sd_event_source *later; /* enabled by each start of a queue, if there is one */
	int mtu, status, rarps;
	uint8_t mac[6];
	int fds, maps; /* before */
};

int vu_env_setup(void **state);
int vu_env_teardown(void **state);
/* Lets the loop run until it has nothing to do. */
void vu_env_pump(void *env);
int vu_env_new_device(struct vu_env *e, unsigned int queue_pairs, uint64_t features);
/* Connects and goes as far as shared memory. */
void vu_env_ready(struct vu_env *e, uint64_t features);
/* Connected, negotiated, with memory and ring 1 running: the state in which most can go wrong. */
void vu_env_running(struct vu_env *e);
/* The front-end was thrown out, with as many errors in the log as were counted; it hangs up, too. */
void vu_env_assert_ended(struct vu_env *e, unsigned int errors);
struct vhost_user_info vu_env_info(const struct vu_env *e);
int vu_env_count_fds(void);
int vu_env_count_maps(const char *name);
/* Whether there are more or less descriptors, and mappings of memfds, than that; prints how many. */
bool vu_env_leaks(int fds, int maps);
