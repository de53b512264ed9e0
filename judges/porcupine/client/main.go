// Sends requests to a running firstcome from many clients, kills it meanwhile, and records what the clients saw as a
// history for the checker.
//
//	client -address HOST:PORT -token TOKEN -supervisor PID -seconds 10 -kills 3 -history FILE
//	client -address HOST:PORT -token TOKEN -supervisor PID -operations 10000000 -kill-every 2m -history PIPE
//
// The supervisor is the process whose only child is the service, and which starts it again when it was killed. It is
// not needed without kills.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// So many responses that no client should get are printed.
const oddMax = 5

// How often a long run says how far it is.
const progressInterval = 15 * time.Second

// run is what all workers share.
type run struct {
	service   *service
	history   *history
	stock     int64
	requests  int
	syncEvery int
	// Per cent of all requests.
	cancellations int
	hold, lag     time.Duration
	over          atomic.Bool
	operation     atomic.Int64
	mutex         sync.Mutex
	odd           []string
	oddCount      int
	unsettled     time.Duration
	kills         [][2]int64 // when gates may be rebuilt, because the service was killed
	killed        int
	// How long gates may have been rebuilt, in all.
	rebuilding time.Duration
}

func (run *run) isOver() bool { return run.over.Load() }

// expect records a response that no client should get.
func (run *run) expect(ok bool, path string, answer response) {
	run.operation.Add(1)
	if !ok {
		run.mutex.Lock()
		defer run.mutex.Unlock()
		if run.oddCount++; run.oddCount <= oddMax {
			run.odd = append(run.odd, fmt.Sprintf("%s: %d %s", path, answer.status, answer.text))
		}
	}
}

func main() {
	run := &run{}
	address := flag.String("address", "", "of the service")
	token := flag.String("token", "", "of an admin")
	supervisor := flag.Int("supervisor", 0, "process that starts the service again")
	seconds := flag.Int("seconds", 10, "duration; longer until all kills are done and every outcome was seen")
	operations := flag.Int64("operations", 0, "stop after so many, whatever the time is; 0: by time")
	kills := flag.Int("kills", 3, "of the service, spread over the duration")
	killEvery := flag.Duration("kill-every", 0, "kill the service once in each such interval, instead of -kills")
	secondsMax := flag.Int("seconds-max", 0, "with -kill-every: stop after this time even if there were fewer operations; 0: never")
	workers := flag.Int("workers", 4, "campaigns at the same time")
	clients := flag.Int("clients", 6, "of each campaign")
	seed := flag.Int64("seed", time.Now().UnixNano(), "of the requests and the kills")
	name := flag.String("history", "history.jsonl", "file to write")
	flag.Int64Var(&run.stock, "stock", 50, "of a campaign, at most, and 10 more")
	flag.IntVar(&run.requests, "requests", 5, "requests for each unit of stock")
	flag.IntVar(&run.syncEvery, "sync-every", 8, "1 in so many participations takes the synchronous path")
	flag.IntVar(&run.cancellations, "cancellations", 8, "per cent of all requests")
	flag.DurationVar(&run.hold, "hold", 0, "how long a lost request may hold units after its end")
	flag.DurationVar(&run.lag, "lag", 0, "how long a cancellation may be unknown to the gate after its end")
	flag.DurationVar(&run.unsettled, "unsettled", 0, "how long gates may be rebuilt after a kill")
	flag.Parse()
	if run.syncEvery < 1 || run.cancellations < 0 || run.cancellations > 60 {
		failOn(errors.New("-sync-every is at least 1, -cancellations 0 to 60"))
	}
	fmt.Println("seed:", *seed)

	file, err := os.Create(*name)
	failOn(err)
	run.service = newService(*address, *token, *supervisor, *workers**clients)
	run.history = newHistory(file)
	random := rand.New(rand.NewSource(*seed))
	began := time.Now()
	var group sync.WaitGroup
	errs := make(chan error, *workers)
	for nth := range *workers {
		worker := &worker{run: run, number: nth, clients: *clients, random: rand.New(rand.NewSource(random.Int63()))}
		group.Add(1)
		go func() {
			defer group.Done()
			for !run.isOver() {
				if err := worker.sell(); err != nil {
					run.over.Store(true)
					errs <- err
					return
				}
			}
		}()
	}
	if *killEvery > 0 {
		failOn(run.disturbOften(*killEvery, *operations, time.Duration(*secondsMax)*time.Second, random))
	} else {
		failOn(run.disturb(*kills, time.Duration(*seconds)*time.Second, *operations, random))
	}
	run.over.Store(true)
	group.Wait()
	failOn(file.Close())
	run.report(time.Since(began))
	select {
	case err := <-errs:
		failOn(err)
	default:
	}
	missing := run.history.missing()
	if len(missing) > 0 {
		fmt.Println("the run shows too little, it has no", missing)
	}
	if len(run.odd) > 0 || len(missing) > 0 {
		os.Exit(1)
	}
}

// disturb kills the service at random moments, one in each part of the duration, and returns when the time is over or
// the number of operations is reached.
func (run *run) disturb(kills int, lasts time.Duration, operations int64, random *rand.Rand) error {
	began, part := time.Now(), lasts/time.Duration(kills+1)
	for nth := range kills {
		at := part*time.Duration(nth) + part/2 + time.Duration(random.Int63n(int64(part)))
		for time.Since(began) < at && !run.isOver() {
			time.Sleep(time.Millisecond)
		}
		if err := run.kill(); err != nil {
			return err
		}
	}
	isDone := func() bool {
		if operations > 0 {
			return run.operation.Load() >= operations
		}
		return time.Since(began) >= lasts && len(run.history.missing()) == 0
	}
	for !isDone() && !run.isOver() {
		if operations == 0 && time.Since(began) > lasts+patienceRestart {
			break // the run says what is missing
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// kill kills the service, and notes for how long gates may be rebuilt then.
func (run *run) kill() error {
	killed := run.service.now()
	if err := run.service.kill(); err != nil {
		return err
	}
	run.killed++
	if run.unsettled > 0 {
		until := run.service.now() + run.unsettled.Nanoseconds()
		run.rebuilding += time.Duration(until - killed)
		run.mutex.Lock()
		run.kills = append(run.kills, [2]int64{killed, until})
		run.kills = run.kills[max(0, len(run.kills)-killsMax):]
		run.mutex.Unlock()
	}
	return nil
}

// disturbOften kills the service about once in each interval, until the number of operations is reached or the time is
// over. A restart that takes long delays the next kill.
func (run *run) disturbOften(interval time.Duration, operations int64, most time.Duration, random *rand.Rand) error {
	began, told := time.Now(), time.Now()
	pause := func() time.Duration { return interval/2 + time.Duration(random.Int63n(int64(interval))) }
	next := began.Add(pause())
	isLate := func() bool { return most > 0 && time.Since(began) > most }
	for run.operation.Load() < operations && !run.isOver() && !isLate() {
		if time.Since(told) > progressInterval {
			told = time.Now()
			run.progress(time.Since(began))
		}
		if time.Now().After(next) {
			if err := run.kill(); err != nil {
				return err
			}
			next = time.Now().Add(pause())
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

func (run *run) progress(lasts time.Duration) {
	done := run.operation.Load()
	rate := float64(done) / lasts.Seconds()
	fmt.Fprintf(os.Stderr, "%d operations in %.0f s, %.0f per second, %d kills\n", done, lasts.Seconds(), rate, run.killed)
}

func (run *run) report(lasts time.Duration) {
	fmt.Printf("operations: %d, kills: %d\n", run.history.total, run.killed)
	fmt.Printf("lasted: %.0f s\n", lasts.Seconds())
	fmt.Printf("unsettled: %.0f %%\n", 100*run.rebuilding.Seconds()/lasts.Seconds())
	var names []string
	for name := range run.history.counts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Printf("  %s: %d\n", name, run.history.counts[name])
	}
	fmt.Println("responses that no client should get:", run.oddCount)
	for _, odd := range run.odd {
		fmt.Println("  " + odd)
	}
}

func failOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
