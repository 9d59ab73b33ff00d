/* SPDX-License-Identifier: Apache-2.0 */

/* The host's devices for the datapath vdpa, as the API shows them. */

#include "datapath/vdpa/vdpa_inventory.h"

#include <linux/virtio_ids.h>
#include <string.h>

#include "datapath/vdpa/vdpa_pool.h"
#include "settings/json_build.h"

static json_t *mgmtdev_json(const struct vdpa_mgmtdev *m)
{
	return json_pack("{s:s, s:b, s:I}", "name", m->name, "net", (int)(m->classes >> VIRTIO_ID_NET & 1),
			 "max_queues", (json_int_t)m->max_vqs);
}

static json_t *device_json(const struct vdpa_dev *d)
{
	char driver[64], pf[VPF_NAME_MAX];
	unsigned int fn;
	json_t *user = json_null();

	vdpa_pool_driver(d->name, driver);
	if (vdpa_pool_user(d->name, pf, &fn))
		user = json_pack("{s:s, s:o}", "pf", pf, "vf",
				 fn == VPF_FUNCTION_PF ? json_null() : json_integer((json_int_t)fn - 1));
	return json_pack("{s:s, s:s, s:b, s:o, s:I, s:o}", "name", d->name, "mgmtdev", d->mgmtdev, "net",
			 (int)(d->device_id == VIRTIO_ID_NET), "driver",
			 *driver ? json_string(driver) : json_null(), "max_queues", (json_int_t)d->max_vqs,
			 "function", user);
}

int vdpa_inventory(json_t **ret, struct err *err)
{
	struct vdpa_netlink_list list = {0};
	json_t *mgmtdevs, *devices;
	int r = vdpa_pool_snapshot(&list);

	if (r < 0 && r != -ENOENT) /* -ENOENT: a kernel without vDPA has none */
		return err_set(err, -r, NULL, "cannot list vDPA devices: %s",
			       r == -ETIMEDOUT ? "the kernel is busy with one of them" : strerror(-r));
	mgmtdevs = json_array();
	devices = json_array();
	for (unsigned int i = 0; i < list.n_mgmtdev; i++)
		json_add(&mgmtdevs, mgmtdev_json(&list.mgmtdev[i]));
	for (unsigned int i = 0; i < list.n_dev; i++)
		json_add(&devices, device_json(&list.dev[i]));
	vdpa_list_free(&list);
	*ret = json_pack("{s:o, s:o}", "mgmtdevs", mgmtdevs, "devices", devices);
	return *ret ? 0 : err_set(err, ENOMEM, NULL, "not enough memory for the list");
}
