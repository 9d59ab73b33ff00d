/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_COMPAT_H
#define VPF_COMPAT_H

/* What differs between kernels 6.1 and 7, in one place. */

#include <linux/netdevice.h>
#include <linux/version.h>
#include <net/devlink.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#include <linux/hex.h>
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#include <linux/kernel.h>
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#include <net/netdev_lock.h>
#else
/* Since 6.15, drivers may ask for their operations to be called under a lock of the netdev's own.
 */
static inline void netdev_lock_ops(struct net_device *dev)
{
}

static inline void netdev_unlock_ops(struct net_device *dev)
{
}
#endif

/* No lock of the transmit path: a feature flag until 6.12. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define VPF_F_LLTX ((netdev_features_t)0)
static inline void vpf_compat_lltx(struct net_device *dev)
{
	dev->lltx = true;
}
#else
#define VPF_F_LLTX NETIF_F_LLTX
static inline void vpf_compat_lltx(struct net_device *dev)
{
	dev->features |= NETIF_F_LLTX;
}
#endif

/* Features that are properties of the kernel's netdev, not of what it can do. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define VPF_F_PROPERTIES ((netdev_features_t)0)
#else
#define VPF_F_PROPERTIES (NETIF_F_LLTX | NETIF_F_NETNS_LOCAL)
#endif

static inline int vpf_compat_set_mac(struct net_device *dev, const u8 *mac)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
	struct sockaddr_storage address = { .ss_family = dev->type };

	memcpy(address.__data, mac, ETH_ALEN);
#else
	struct sockaddr address = { .sa_family = dev->type };

	memcpy(address.sa_data, mac, ETH_ALEN);
#endif
	return dev_set_mac_address(dev, &address, NULL);
}

/* Keeps IPv6 from giving the netdev addresses of its own, as for any lower device. Returns what
 * vpf_compat_addrconf_restore() wants.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
static inline bool vpf_compat_no_addrconf(struct net_device *dev)
{
	bool had = dev->priv_flags & IFF_NO_ADDRCONF;

	dev->priv_flags |= IFF_NO_ADDRCONF;
	return had;
}

static inline void vpf_compat_addrconf_restore(struct net_device *dev, bool had)
{
	if (!had)
		dev->priv_flags &= ~IFF_NO_ADDRCONF;
}
#else
static inline bool vpf_compat_no_addrconf(struct net_device *dev)
{
	bool had = dev->flags & IFF_SLAVE;

	dev->flags |= IFF_SLAVE;
	return had;
}

static inline void vpf_compat_addrconf_restore(struct net_device *dev, bool had)
{
	if (!had)
		dev->flags &= ~IFF_SLAVE;
}
#endif

/* A port's netdev. Since 6.2 the netdev knows its port, and devlink all else. Before, the port is
 * told of its netdev without RTNL, which devlink takes, and uses it until told that it has gone:
 * so it is held that long.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define VPF_NDO_DEVLINK_PORT(function)
static inline void vpf_compat_port_before_register(struct net_device *dev,
						   struct devlink_port *port)
{
	SET_NETDEV_DEVLINK_PORT(dev, port);
}

static inline struct net_device *vpf_compat_port_hold(struct net_device *dev)
{
	return NULL;
}

static inline void vpf_compat_port_set(struct devlink_port *port, struct net_device *held)
{
}

static inline void vpf_compat_port_clear(struct devlink_port *port, struct net_device *held)
{
}

static inline int vpf_compat_info_driver(struct devlink_info_req *req, const char *name)
{
	return 0; /* devlink reports it itself */
}
#else
#define VPF_NDO_DEVLINK_PORT(function) .ndo_get_devlink_port = (function),
static inline void vpf_compat_port_before_register(struct net_device *dev,
						   struct devlink_port *port)
{
}

static inline struct net_device *vpf_compat_port_hold(struct net_device *dev)
{
	dev_hold(dev);
	return dev;
}

static inline void vpf_compat_port_set(struct devlink_port *port, struct net_device *held)
{
	devlink_port_type_eth_set(port, held);
}

static inline void vpf_compat_port_clear(struct devlink_port *port, struct net_device *held)
{
	if (!held)
		return;
	devlink_port_type_clear(port);
	dev_put(held);
}

static inline int vpf_compat_info_driver(struct devlink_info_req *req, const char *name)
{
	return devlink_info_driver_name_put(req, name);
}
#endif

/* Operations of a port: of the devlink instance until 6.6. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define VPF_PORT_OPS(name, hw_addr_get, hw_addr_set, state_get) \
	static const struct devlink_port_ops name = {           \
		.port_fn_hw_addr_get = (hw_addr_get),           \
		.port_fn_hw_addr_set = (hw_addr_set),           \
		.port_fn_state_get = (state_get),               \
	}
#define VPF_DEVLINK_PORT_OPS(hw_addr_get, hw_addr_set, state_get)
#define vpf_compat_port_register devl_port_register_with_ops
#else
#define VPF_PORT_OPS(name, hw_addr_get, hw_addr_set, state_get) static_assert(true)
#define VPF_DEVLINK_PORT_OPS(hw_addr_get, hw_addr_set, state_get)                               \
	.port_function_hw_addr_get = (hw_addr_get), .port_function_hw_addr_set = (hw_addr_set), \
	.port_fn_state_get = (state_get),
#define vpf_compat_port_register(devlink, port, index, ops) devl_port_register(devlink, port, index)
#endif

#endif
