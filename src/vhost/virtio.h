/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The virtio names that vpf uses: the kernel's definitions, and those that Debian 12's headers lack. Ring
 * layout: virtio 1.3 §2.7 (split) and §2.8 (packed); feature bits §6 and §5.1.3. All little-endian; so is
 * every machine that vpf runs on (checked here). */

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO   56
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
#ifndef VHOST_F_LOG_ALL
#define VHOST_F_LOG_ALL 26
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "virtio 1.x rings are little-endian; a port must convert");

#define VIRTIO_BIT(f)           (1ULL << (f))
#define virtio_has(features, f) (((features) >> (f)) & 1)

/* Checksum and TCP segmentation, both ways; UDP segmentation, both ways. */
#define VIRTIO_NET_OFFLOADS                                                                                  \
	(VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) |                               \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) |                           \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_ECN) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) |                           \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN))
#define VIRTIO_NET_OFFLOADS_USO                                                                              \
	(VIRTIO_BIT(VIRTIO_NET_F_HOST_USO) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) |                           \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6))
/* Features between QEMU and the driver alone: the device's appearance, its control queue. A front-end without
 * a device model of its own, such as DPDK's, expects them to be offered. */
#define VIRTIO_NET_FRONT_FEATURES                                                                            \
	(VIRTIO_BIT(VIRTIO_NET_F_MTU) | VIRTIO_BIT(VIRTIO_NET_F_STATUS) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) | \
	 VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |                         \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE))
