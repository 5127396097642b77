package store

import (
	"encoding/json"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/prometheus/tsdb"
)

// uploadedFor is how long what the file of uploaded blocks says is believed: a
// compaction asks about each block.
const uploadedFor = time.Minute

// uploaded are the blocks that something beside the server, such as Thanos'
// sidecar, has uploaded. It wants them as they are, so that those it does not have
// yet must not be compacted.
type uploaded struct {
	path   string
	logger *slog.Logger

	mu     sync.Mutex
	blocks map[string]bool
	read   time.Time
}

// pending says whether a block has to wait. A block that was compacted already is
// not uploaded and does not wait, and none does when the file cannot be read.
func (u *uploaded) pending(block *tsdb.BlockMeta) bool {
	if block.Compaction.Level > 1 {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.blocks == nil || time.Since(u.read) >= uploadedFor {
		blocks, err := readUploaded(u.path)
		if err != nil {
			u.logger.Warn("Blocks are compacted whether they have been uploaded or not", "err", err)
			return false
		}
		u.blocks, u.read = blocks, time.Now()
	}
	return !u.blocks[block.ULID.String()]
}

func readUploaded(path string) (map[string]bool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list struct {
		Uploaded []string `json:"uploaded"`
	}
	if err := json.Unmarshal(content, &list); err != nil {
		return nil, &os.PathError{Op: "parse", Path: path, Err: err}
	}
	blocks := make(map[string]bool, len(list.Uploaded))
	for _, id := range list.Uploaded {
		blocks[id] = true
	}
	return blocks, nil
}
