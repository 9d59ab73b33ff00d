/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The virtio names that vpf uses: the kernel's own definitions, and those that Debian 12's headers lack.
 * Ring layout: virtio 1.3 §2.7 (split) and §2.8 (packed); feature bits §6 and §5.1.3. All little-endian; so
 * is every machine that vpf runs on (checked here). */

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
