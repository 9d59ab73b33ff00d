/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The control virtqueue of a vDPA network device, which vpfd drives itself (virtio 1.3 §5.1.6.5): MAC,
 * receive mode, MAC table, VLAN filter, number of queue pairs in use. What the guest's driver asks of its own
 * control queue ends in QEMU; this is how it reaches the device, as far as settings allow.
 *
 * Theory of operation. One command at a time: written to our own memory, kicked, waited for. The ring is a
 * split one in a memfd, since VDUSE can only share memory that has a file. The device may write anything there: only
 * the used index and one byte are read back.
 *
 * Thread-safety: one thread at a time; commands wait for the device, so not the main one. */

#include "datapath/vdpa/vdpa_sys.h"
#include "settings/rx_filter.h"

#define VDPA_CONTROL_BYTES 8192u /* its memory, to be mapped at `iova` */
#define VDPA_CONTROL_SIZE  8u    /* entries of its ring, unless the device has fewer */
#define VDPA_CONTROL_MS    1000  /* a device that takes longer for a command is considered dead */

/* What a device is to let through. */
struct vdpa_filter {
	uint8_t mac[6];
	bool promiscuous, all_multicast;
	unsigned int unicast_n, multicast_n;
	uint8_t unicast[VPF_MAX_DRIVER_MACS][6], multicast[VPF_MAX_DRIVER_MACS][6];
	uint64_t vlans[64]; /* bit v set: VLAN v passes */
	uint16_t pairs;     /* queue pairs in use, 1… */
};

/* The driver's requests as limited by the settings. `mac`: what the guest was told. An administrative MAC binds a
 * function that is not trusted; only a trusted one is promiscuous. filter NULL or not known: its own MAC, and all
 * multicast. `pairs` is left alone. */
void vdpa_filter_make(const struct function_settings *s, const struct rx_filter *filter, const uint8_t mac[6],
		      struct vdpa_filter *ret);

/* All but `pairs`. */
bool vdpa_filter_equal(const struct vdpa_filter *a, const struct vdpa_filter *b);

struct vdpa_control {
	uint8_t *area; /* VDPA_CONTROL_BYTES, NULL: none */
	uint64_t iova; /* of it, for the device; set by the owner */
	unsigned int size;
	int memfd, kickfd, callfd;
	uint16_t avail;
};

/* size: a power of two ≤ VDPA_CONTROL_SIZE. -ENOMEM or as memfd_create. */
int vdpa_control_new(struct vdpa_control *c, unsigned int size);
void vdpa_control_done(
	struct vdpa_control *c); /* takes one that was never created: all zeros except descriptors -1 */
void vdpa_control_reset(struct vdpa_control *c); /* the device was reset: an empty ring */
void vdpa_control_addr(const struct vdpa_control *c,
		       struct vhost_vring_addr *ret); /* I/O virtual addresses */

/* -ETIMEDOUT: no answer (what was asked may still happen: reset the device); -EIO: refused; -EINVAL: too
 * long. */
int vdpa_control_command(struct vdpa_control *c, uint8_t class, uint8_t cmd, const void *data, size_t len);
/* Sends what differs from `old` (NULL: everything), as far as the negotiated features of the device go.
 * Errors as above. */
int vdpa_control_apply(struct vdpa_control *c, uint64_t features, const struct vdpa_filter *old,
		       const struct vdpa_filter *f, struct err *err);
