/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A virtual PF in QEMU's terms: the ids of its parts, the arguments that start a VM with it, and the same
 * parts as arguments of QMP commands. Pure functions; thread-safe.
 *
 * Ids. Function F is "pf" or "vfN" (N from 0) of the virtual PF named P:
 *	vpf-P-F		the device, which is also the name of its NIC (NIC_RX_FILTER_CHANGED, query-rx-filter)
 *	vpf-P-F-net	the netdev (set_link). Not the device's name: QEMU looks up both kinds by name in one list
 *	vpf-P-F-chr	the chardev
 *	vpf-P-port	the pcie-root-port they are on
 * PCI: the PF is function 0 of the port's bus, VF n is function n + 1, counted through (ARI) up to 255. */

#include <jansson.h>

#include "settings/settings.h"
#include "util/err.h"

#define QEMU_ID_MAX (VPF_NAME_MAX + 24)

enum qemu_part { QEMU_DEVICE, QEMU_NETDEV, QEMU_CHARDEV };
/* `fn` as VPF_FUNCTION_*. Returns id. */
const char *qemu_id(char id[QEMU_ID_MAX], enum qemu_part part, const char *pf, unsigned int fn);
/* The function that an id names; -ENOENT if it is not of this PF (or ≥ functions) or not this part. */
int qemu_id_parse(const char *id, enum qemu_part part, const char *pf, unsigned int functions);

/* What QEMU needs to know of a function. */
struct qemu_function {
	const char *socket; /* path of its vhost-user socket, as QEMU should use it */
	uint8_t mac[6];     /* permanent MAC */
};

struct qemu_args_options { /* all zeros (NULL): the defaults */
	const char *bus; /* id of an existing pcie-root-port for the PF; NULL: one is created, "vpf-P-port" */
	const char *memory; /* also print guest memory of this size, shared ("512M", "4G"); NULL: none */
	unsigned int hotplug_ports; /* also print this number of empty root ports for `pf attach`, 0…16 */
	unsigned int chassis; /* of the first port that is printed, 1…255; 0: derived from the PF's name */
	bool packed;          /* offer packed rings */
	bool without_pf; /* print everything but the PF itself, for a VM that gets it later by `pf attach` */
	unsigned int rx_queue_size; /* 256, 512 or 1024; 0: 256 */
	unsigned int tx_queue_size; /* same */
};

/* The arguments to append to `qemu-system-x86_64 -machine q35 …`, as a new JSON array of strings, each one
 * word of the command line ("-device", "virtio-net-pci,…", …). `functions` has pf->vfs + 1 elements, the PF
 * first. `key_file`: path of the file whose text becomes an SMBIOS string of type 11 (the VM's key), as QEMU
 * should use it; NULL: none. -EINVAL with the option's name in err->field, -ENOMEM. */
int qemu_args(const struct pf_settings *pf, const struct qemu_function *functions, const char *key_file,
	      const struct qemu_args_options *options, json_t **ret, struct err *err);

/* The same parts as arguments of QMP's chardev-add, netdev_add and device_add (bus: id of a pcie-root-port);
 * NULL: no memory. New references. */
json_t *qemu_chardev_json(const struct pf_settings *pf, unsigned int fn,
			  const struct qemu_function *function);
json_t *qemu_netdev_json(const struct pf_settings *pf, unsigned int fn);
json_t *qemu_device_json(const struct pf_settings *pf, unsigned int fn, const struct qemu_function *function,
			 const char *bus, const struct qemu_args_options *options);
