package node

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/strata-metrics/strata/internal/metric"
)

// diskUdev reads what udev found out about a disk, from its database in
// /run/udev/data, and exposes it.
type diskUdev struct {
	udevDir, blockDir                    string
	reader                               reader
	info, filesystem, mapper             *metric.Family
	writeCache, writeCacheOn, rotational *metric.Family
}

// diskInfo holds the label values and values of a disk.
type diskInfo struct {
	labels     []string // of node_disk_info, the device first
	filesystem []string // of node_disk_filesystem_info; nil for none
	mapper     []string // of node_disk_device_mapper_info; nil for none
	ata        []ataValue
}

type ataValue struct {
	family *metric.Family
	value  float64
}

func newDiskUdev(o *Options) diskUdev {
	return diskUdev{
		udevDir:  o.UdevData,
		blockDir: o.sysPath("block"),
		info: metric.NewGauge("node_disk_info", "Info of /sys/block/<block_device>.",
			"device", "major", "minor", "path", "wwn", "model", "serial", "revision", "rotational"),
		filesystem: metric.NewGauge("node_disk_filesystem_info", "Info about disk filesystem.",
			"device", "type", "usage", "uuid", "version"),
		mapper: metric.NewGauge("node_disk_device_mapper_info", "Info about disk device mapper.",
			"device", "name", "uuid", "vg_name", "lv_name", "lv_layer"),
		writeCache:   metric.NewGauge("node_disk_ata_write_cache", "ATA disk has a write cache.", "device"),
		writeCacheOn: metric.NewGauge("node_disk_ata_write_cache_enabled", "ATA disk has its write cache enabled.", "device"),
		rotational:   metric.NewGauge("node_disk_ata_rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs).", "device"),
	}
}

func (u *diskUdev) families() []*metric.Family {
	return []*metric.Family{u.info, u.filesystem, u.mapper, u.writeCache, u.writeCacheOn, u.rotational}
}

// read finds what there is to know. A host without udev, or a container that
// does not see it, has no more than the numbers of the device.
func (u *diskUdev) read(device, major, minor string) diskInfo {
	var p map[string]string
	if data, err := u.reader.read(filepath.Join(u.udevDir, "b"+major+":"+minor)); err == nil {
		p = parseUdev(data)
	}
	serial := p["SCSI_IDENT_SERIAL"] // what is printed on the disk
	if serial == "" {
		serial = p["ID_SERIAL_SHORT"]
	}
	if serial == "" {
		serial = p["ID_SERIAL"] // that of virtio disks
	}
	i := diskInfo{labels: []string{
		device, major, minor, p["ID_PATH"], p["ID_WWN"], p["ID_MODEL"], serial, p["ID_REVISION"], u.readRotational(device),
	}}
	if p["ID_FS_TYPE"] != "" {
		i.filesystem = []string{device, p["ID_FS_TYPE"], p["ID_FS_USAGE"], p["ID_FS_UUID"], p["ID_FS_VERSION"]}
	}
	if p["DM_NAME"] != "" {
		i.mapper = []string{device, p["DM_NAME"], p["DM_UUID"], p["DM_VG_NAME"], p["DM_LV_NAME"], p["DM_LV_LAYER"]}
	}
	if p["ID_ATA"] != "" {
		i.addATA(u.writeCache, p["ID_ATA_WRITE_CACHE"])
		i.addATA(u.writeCacheOn, p["ID_ATA_WRITE_CACHE_ENABLED"])
		i.addATA(u.rotational, p["ID_ATA_ROTATION_RATE_RPM"])
	}
	return i
}

func (i *diskInfo) addATA(f *metric.Family, text string) {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		i.ata = append(i.ata, ataValue{f, v})
	}
}

// readRotational says 1 for a disk that spins, and 0 for one that does not or
// does not say. /sys writes ! for the / in names such as cciss/c0d0.
func (u *diskUdev) readRotational(device string) string {
	device = strings.ReplaceAll(device, "/", "!")
	data, err := u.reader.read(filepath.Join(u.blockDir, device, "queue", "rotational"))
	if err == nil && string(bytes.TrimSpace(data)) == "1" {
		return "1"
	}
	return "0"
}

func (u *diskUdev) add(b *metric.Batch, device string, i *diskInfo) {
	b.Add(u.info, 1, i.labels...)
	if i.filesystem != nil {
		b.Add(u.filesystem, 1, i.filesystem...)
	}
	if i.mapper != nil {
		b.Add(u.mapper, 1, i.mapper...)
	}
	for _, a := range i.ata {
		b.Add(a.family, a.value, device)
	}
}

// parseUdev reads the properties, lines such as E:ID_MODEL=X, of a file in
// udev's database. Lines of other kinds and wrong ones are passed over: what
// they would say is a label that stays empty.
func parseUdev(data []byte) map[string]string {
	properties := map[string]string{}
	for line := range bytes.Lines(data) {
		line, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte("E:"))
		if !ok {
			continue
		}
		if name, value, ok := bytes.Cut(line, []byte("=")); ok {
			properties[string(name)] = string(value)
		}
	}
	return properties
}
