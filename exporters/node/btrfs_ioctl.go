package node

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls to a btrfs file system and their arguments, from
// include/uapi/linux/btrfs.h of the kernel.
const (
	btrfsDevInfo     = 3<<30 | 4096<<16 | 0x94<<8 | 30 // BTRFS_IOC_DEV_INFO
	btrfsFSInfo      = 2<<30 | 1024<<16 | 0x94<<8 | 31 // BTRFS_IOC_FS_INFO
	btrfsGetDevStats = 3<<30 | 1032<<16 | 0x94<<8 | 52 // BTRFS_IOC_GET_DEV_STATS
)

type btrfsFSInfoArgs struct {
	maxID, numDevices uint64
	fsid              [16]byte
	_                 [992]byte
}

type btrfsDevInfoArgs struct {
	devid             uint64
	uuid              [16]byte
	bytesUsed, totals uint64
	_                 [379]uint64
	path              [1024]byte
}

type btrfsDevStatsArgs struct {
	devid, items, flags uint64
	values              [btrfsErrorKinds]uint64
	_                   [121]uint64
}

// maxBtrfsDevices bounds the numbers of devices that are tried. They rise with
// each device that is added, and are not given again.
const maxBtrfsDevices = 1 << 16

// btrfsDevices asks the file system mounted at the path for its identity, in
// hexadecimal form, and for its devices with their counts of errors.
func btrfsDevices(path string) (fsid string, devices []btrfsDevice, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) { // O_NOATIME is the owner's
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return "", nil, fmt.Errorf("opening %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var info btrfsFSInfoArgs
	if err := ioctl(fd, btrfsFSInfo, unsafe.Pointer(&info)); err != nil {
		return "", nil, fmt.Errorf("%s: asking for the file system: %w", path, err)
	}
	for id := uint64(0); id <= info.maxID && id < maxBtrfsDevices && uint64(len(devices)) < info.numDevices; id++ {
		device := btrfsDevInfoArgs{devid: id}
		if err := ioctl(fd, btrfsDevInfo, unsafe.Pointer(&device)); errors.Is(err, unix.ENODEV) {
			continue // the numbers have gaps
		} else if err != nil {
			return "", nil, fmt.Errorf("%s: asking for device %d: %w", path, id, err)
		}
		stats := btrfsDevStatsArgs{devid: id, items: btrfsErrorKinds}
		if err := ioctl(fd, btrfsGetDevStats, unsafe.Pointer(&stats)); err != nil {
			return "", nil, fmt.Errorf("%s: asking for the errors of device %d: %w", path, id, err)
		}
		name, _, _ := bytes.Cut(device.path[:], []byte{0})
		devices = append(devices, btrfsDevice{
			path: string(name), uuid: formatUUID(device.uuid),
			used: device.bytesUsed, total: device.totals, errors: stats.values,
		})
	}
	return hex.EncodeToString(info.fsid[:]), devices, nil
}

func ioctl(fd int, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

// formatUUID writes an identity in its five parts.
func formatUUID(id [16]byte) string {
	s := hex.EncodeToString(id[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
