/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of a link to QEMU start from: a virtual PF's owner, and a QEMU that is played here, with what
 * matters of the real one: a table of devices, netdevs and chardevs, ports, a link state per netdev, and
 * rx-filter events that come once until asked. */

#include "fake_qmp.h"
#include "qemu/qemu_link.h"

#define QEMU_ENV_VFS       3U
#define QEMU_ENV_FUNCTIONS (QEMU_ENV_VFS + 1)

struct qemu_env_vm { /* QEMU's side */
	bool device[QEMU_ENV_FUNCTIONS], netdev[QEMU_ENV_FUNCTIONS], chardev[QEMU_ENV_FUNCTIONS];
	int link[QEMU_ENV_FUNCTIONS]; /* last set_link: -1 none, 0, 1 */
	unsigned int promiscuous[QEMU_ENV_FUNCTIONS];
	char bus[16]; /* where the devices are */
	bool hp0_taken, no_ports;
	bool acpi;            /* VFs stay when the PF goes, device_del of a VF does nothing */
	bool guest_sleeps;    /* device_del of the PF is not obeyed */
	bool unconnected;     /* chardevs do not get through */
	const char *fail;     /* this command fails … */
	unsigned int fail_at; /* … the n-th time, from 1 */
	json_t *last_device, *last_announce;
	bool paused;
	char q_bus[16]; /* where another PF, "q", is */
};

struct qemu_env {
	sd_event *event;
	struct fake_qmp *fake;
	struct qemu_env_vm vm;
	struct qmp_pool *pool;
	struct pf_settings pf;
	struct qemu_link *link;
	unsigned int ups, downs, present, absent;
	unsigned int filters[QEMU_ENV_FUNCTIONS];
	struct rx_filter filter[QEMU_ENV_FUNCTIONS];
	struct qemu_function function[QEMU_ENV_FUNCTIONS];
	unsigned int unannounced; /* functions, bits */
	unsigned int dones;
	int code;
	struct err err;
	bool remark;
};

int qemu_env_setup(void **state);
int qemu_env_teardown(void **state);
/* What its owner is told; its context is the environment. */
extern const struct qemu_link_ops qemu_env_ops;
/* release_ms 0: the default. */
void qemu_env_open_link(struct qemu_env *x, unsigned int release_ms);
void qemu_env_on_done(void *arg, int code, const struct err *err);
/* And waits until it is done. */
void qemu_env_attach(struct qemu_env *x, const char *bus);
void qemu_env_detach(struct qemu_env *x);

/* QEMU's side. What a handler of a test's own does not answer itself is this one's. */
json_t *qemu_env_handle(struct fake_qmp *f, const char *command, const json_t *args);
void qemu_env_plugged_from_start(struct qemu_env *x);
/* The guest obeys a request to release the PF. */
void qemu_env_release(struct qemu_env *x);
/* How many functions have such a part. */
unsigned int qemu_env_parts(const bool part[QEMU_ENV_FUNCTIONS]);
