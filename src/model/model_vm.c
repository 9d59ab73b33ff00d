/* SPDX-License-Identifier: Apache-2.0 */

/* VMs: names that virtual PFs share, each with a key. The key is made when a VM's first virtual PF appears,
 * is kept in the state, and lies beside the sockets of each virtual PF for QEMU to give to its guest. */

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "model/model_private.h"
#include "vpf/control.h"

_Static_assert(MODEL_KEY_LEN == VPF_CTL_KEY_LEN, "the key is the channel's");

static struct model_vm *find(const struct model *m, const char *name)
{
	for (unsigned int i = 0; i < m->vms_n; i++)
		if (!strcmp(m->vms[i]->name, name))
			return m->vms[i];
	return NULL;
}

int model_vm_new(struct model *m, const char *name, const uint8_t key[MODEL_KEY_LEN], struct model_vm **ret,
		 struct err *err)
{
	struct model_vm *vm;

	if (m->vms_n == ARRAY_SIZE(m->vms))
		return err_set(err, ENOSPC, "vm", "there are already %u VMs, the most there can be",
			       m->vms_n);
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return err_set(err, ENOMEM, NULL, "out of memory");
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	if (key) {
		memcpy(vm->key, key, sizeof(vm->key));
	} else if (getrandom(vm->key, sizeof(vm->key), 0) != sizeof(vm->key)) {
		free(vm);
		return err_set(err, EIO, NULL,
			       "cannot make a key for the VM: the system has no random numbers");
	}
	m->vms[m->vms_n++] = vm;
	*ret = vm;
	return 0;
}

int model_vm_get(struct model *m, const char *name, struct model_vm **ret, struct err *err)
{
	struct model_vm *vm = find(m, name);

	if (!vm)
		return model_vm_new(m, name, NULL, ret, err);
	*ret = vm;
	return 0;
}

void model_vms_tidy(struct model *m)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < m->vms_n; i++) {
		if (m->vms[i]->pfs) {
			m->vms[kept++] = m->vms[i];
		} else {
			explicit_bzero(m->vms[i], sizeof(*m->vms[i]));
			free(m->vms[i]);
		}
	}
	m->vms_n = kept;
}

const char *model_vm_key_text(const uint8_t key[MODEL_KEY_LEN], char ret[2 * MODEL_KEY_LEN + 1])
{
	for (unsigned int i = 0; i < MODEL_KEY_LEN; i++)
		snprintf(ret + 2 * i, 3, "%02x", key[i]);
	return ret;
}

bool model_vm_key_parse(const char *text, uint8_t ret[MODEL_KEY_LEN])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t key[MODEL_KEY_LEN];

	if (strlen(text) != 2 * sizeof(key) || strspn(text, digits) != 2 * sizeof(key))
		return false;
	for (unsigned int i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
				   (strchr(digits, text[2 * i + 1]) - digits));
	memcpy(ret, key, sizeof(key));
	return true;
}

const char *model_key_path(const struct model *m, const char *pf, char ret[108])
{
	snprintf(ret, 108, "%s/%s/vm.key", m->run_dir, pf);
	return ret;
}

/* The owner of the PF's directory was given the PF. Where vpfd may not change the owner of files, the group has to
 * suffice.
 */
static void give_to_owner_of_dir(const struct model *m, const char *pf, int fd)
{
	char path[108];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", m->run_dir, pf);
	if (!stat(path, &st) && st.st_uid != geteuid())
		(void)!fchown(fd, st.st_uid, (gid_t)-1);
}

static int write_key(const struct model *m, int fd, const uint8_t key[MODEL_KEY_LEN])
{
	char text[sizeof(VPF_CTL_SMBIOS_PREFIX) + 2 * MODEL_KEY_LEN] = VPF_CTL_SMBIOS_PREFIX;
	/* QEMU's group reads it if that may connect to the sockets. */
	mode_t mode = 0600 | (m->socket_mode & 0060 ? 0040 : 0);
	size_t length = sizeof(text) - 1;
	ssize_t n;

	model_vm_key_text(key, text + strlen(VPF_CTL_SMBIOS_PREFIX));
	if (m->socket_group != UINT32_MAX && fchown(fd, (uid_t)-1, m->socket_group) < 0)
		return -errno;
	if (fchmod(fd, mode) < 0)
		return -errno;
	n = write(fd, text, length);
	explicit_bzero(text, sizeof(text));
	if (n < 0)
		return -errno;
	return (size_t)n == length ? 0 : -EIO;
}

int model_key_write(const struct model *m, const char *pf, const struct model_vm *vm, struct err *err)
{
	_cleanup_close_ int fd = -1;
	char path[108], tmp[116];
	int r;

	model_key_path(m, pf, path);
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	/* Created under another name and renamed: never half a key, never through a foreign symlink, never
	 * world-readable. */
	unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : write_key(m, fd, vm->key);
	if (!r)
		give_to_owner_of_dir(m, pf, fd);
	if (!r && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0) {
		if (fd >= 0)
			unlink(tmp);
		return err_set(err, -r, NULL, "cannot write the VM's key to %s: %s", path, strerror(-r));
	}
	return 0;
}

void model_key_remove(const struct model *m, const char *pf)
{
	char path[108];

	unlink(model_key_path(m, pf, path));
}
