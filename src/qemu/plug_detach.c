/* SPDX-License-Identifier: Apache-2.0 */

/* Unplugging: ask the guest, wait for it, remove the back-ends. */

#include "qemu/plug_priv.h"

#define RELEASE_TRIES 2 /* device_del is sent this number of times while waiting for the guest */

int plug_release_pf(struct plug *p)
{
	if (p->index == 0 && !p->device[VPF_FUNCTION_PF])
		return err_set(&p->err, ENOENT, "", "PF %s is not in the VM", p->pf.name);
	p->index = 1;
	if (p->released)
		return STEP_DONE;
	if (p->asked)
		return plug_wait(p, p->release_ms / RELEASE_TRIES);
	if (p->tries == RELEASE_TRIES)
		return err_set(
			&p->err, ETIMEDOUT, "",
			"the guest did not release PF %s within %u s: is it running, and does it handle PCI hot-plug?",
			p->pf.name, p->release_ms / 1000);
	p->asked = true;
	p->tries++;
	return plug_send_id(p, "device_del", QEMU_DEVICE, VPF_FUNCTION_PF);
}

static int release_asked(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	(void)ret;
	if (code == -ENODEV)
		p->released = true;
	else if (code < 0 && p->tries == 1)
		return plug_refused(p, code, err, "unplug the PF");
	return 0;
}

const struct step plug_detach_steps[] = {
	{plug_list_devices, plug_devices_listed},
	{plug_release_pf, release_asked},
	{plug_list_devices, plug_devices_listed},
	{plug_list_chardevs, plug_chardevs_listed},
	{plug_drop_netdevs, plug_dropped},
	{plug_drop_chardevs, plug_dropped},
	{},
};

const struct step plug_cleanup_steps[] = {
	{plug_list_devices, plug_devices_listed},
	{plug_list_chardevs, plug_chardevs_listed},
	{plug_drop_netdevs, plug_dropped},
	{plug_drop_chardevs, plug_dropped},
	{},
};
