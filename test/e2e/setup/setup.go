// Package setup makes ready what a cluster of the end-to-end tests is started
// with: its programs and images, built from this checkout.
package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/strata-metrics/strata/test/e2e/binaries"
	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/image"
	"github.com/strata-metrics/strata/test/e2e/repo"
)

// Options builds all that a cluster needs and returns the options to start it
// with, the demo application's image included.
func Options(ctx context.Context, log *slog.Logger) (cluster.Options, error) {
	root, err := repo.Root(".")
	if err != nil {
		return cluster.Options{}, err
	}
	programs, err := binaries.Ensure(ctx, binaries.Options{Root: root, Log: log})
	if err != nil {
		return cluster.Options{}, err
	}
	archives, err := Pack(ctx, image.Pause(root), image.Demo(root))
	if err != nil {
		return cluster.Options{}, err
	}
	return cluster.Options{
		Binaries: programs, PauseImage: archives[0], PauseName: image.Pause(root).Image, Images: archives[1:], Log: log,
	}, nil
}

// Cluster is the cluster of `make cluster` when that runs, or one that is
// started, which end ends.
func Cluster(ctx context.Context, log *slog.Logger) (c *cluster.Cluster, end func(context.Context) error, err error) {
	c, err = cluster.Attach(cluster.DefaultStateDir, log)
	if !errors.Is(err, cluster.ErrNotRunning) {
		return c, func(context.Context) error { return nil }, err
	}
	o, err := Options(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	if c, err = cluster.Start(ctx, o); err != nil {
		return nil, nil, err
	}
	return c, c.Stop, nil
}

// Pack builds programs and packs them as images into the user's cache; it
// returns the archives.
func Pack(ctx context.Context, programs ...image.Program) ([]string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("finding a cache directory: %w", err)
	}
	dir := filepath.Join(cache, "strata", "e2e", "images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the images' cache: %w", err)
	}
	var archives []string
	for _, p := range programs {
		archive, err := image.Pack(ctx, dir, p)
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", p.Image, err)
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// Load packs programs, such as image.Strata(root, "strata-node"), and gives
// their images to a cluster.
func Load(ctx context.Context, c *cluster.Cluster, programs ...image.Program) error {
	archives, err := Pack(ctx, programs...)
	if err != nil {
		return err
	}
	for _, a := range archives {
		if err := c.LoadImage(ctx, a); err != nil {
			return err
		}
	}
	return nil
}
