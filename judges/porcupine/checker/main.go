// Checks histories of clients of firstcome with Porcupine.
//
//	checker [-timeout 60s] [-html FILE] [-keep PREFIX] [-plant SEED [-plant-every N]] HISTORY…
//
// A history may be a named pipe: campaigns are checked while others are still running. It prints counts, one violation with the operations around it, and a drawing of it as a page. -plant breaks copies of
// the campaigns in every way that the model knows, and fails unless all are found: the first campaigns, or with
// -plant-every each Nth. Exit codes: 0 linearizable, 1 not,
// 2 unusable history, 3 a campaign was not decided in time.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Campaigns that are checked side by side, which bounds the memory.
const together = 8

type checker struct {
	timeout time.Duration
	html    string
	keep    string

	campaigns, operations int
	spent, slowest        time.Duration
	illegal, undecided    []int64
}

func main() {
	timeout := flag.Duration("timeout", time.Minute, "limit for each campaign")
	html := flag.String("html", "porcupine.html", "where a violation is drawn")
	keep := flag.String("keep", "", "write campaigns that are not linearizable as PREFIX-CAMPAIGN.jsonl")
	plant := flag.Int64("plant", -1, "break copies with this seed, and see whether that is found")
	every := flag.Int("plant-every", 0, "break a copy of every so many campaigns in every way; 0: of the first ones")
	flag.Parse()
	checker := &checker{timeout: *timeout, html: *html, keep: *keep}
	planter := newPlanter(*plant, *every, *timeout)
	var batch []*Campaign
	for _, name := range flag.Args() {
		file, err := os.Open(name)
		if err == nil {
			err = Read(file, func(campaign *Campaign) error {
				if batch = append(batch, campaign); len(batch) == together {
					checker.check(batch)
					planter.plant(batch)
					batch = nil
				}
				return nil
			})
			file.Close()
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(2)
		}
	}
	checker.check(batch)
	planter.plant(batch)
	os.Exit(max(checker.report(), planter.report()))
}

// check checks campaigns side by side.
func (checker *checker) check(batch []*Campaign) {
	var histories [][]porcupine.Operation
	began := time.Now()
	for _, campaign := range batch {
		histories = append(histories, Resolve(campaign))
		checker.campaigns++
		checker.operations += campaign.Operations()
	}
	results, took := make([]porcupine.CheckResult, len(batch)), make([]time.Duration, len(batch))
	var group sync.WaitGroup
	for nth, history := range histories {
		group.Add(1)
		go func() {
			defer group.Done()
			began := time.Now()
			results[nth] = porcupine.CheckOperationsTimeout(model, history, checker.timeout)
			took[nth] = time.Since(began)
		}()
	}
	group.Wait()
	checker.spent += time.Since(began)
	for _, took := range took {
		checker.slowest = max(checker.slowest, took)
	}
	for nth, result := range results {
		switch result {
		case porcupine.Illegal:
			if len(checker.illegal) == 0 {
				checker.explain(batch[nth], histories[nth])
			}
			checker.illegal = append(checker.illegal, batch[nth].Campaign)
			checker.keepCampaign(batch[nth])
		case porcupine.Unknown:
			checker.undecided = append(checker.undecided, batch[nth].Campaign)
			checker.keepCampaign(batch[nth])
		}
	}
}

// keepCampaign writes a campaign, if a place is given.
func (checker *checker) keepCampaign(campaign *Campaign) {
	if checker.keep == "" {
		return
	}
	name := fmt.Sprintf("%s-%d.jsonl", checker.keep, campaign.Campaign)
	file, err := os.Create(name)
	if err == nil {
		err = errors.Join(campaign.Write(file), file.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// memory is the most that this process has used.
func memory() string {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if size, is := strings.CutPrefix(line, "VmHWM:"); is {
			return strings.TrimSpace(size)
		}
	}
	return "unknown"
}

// explain draws a violation, and prints what could not be placed after the longest order that was found.
func (checker *checker) explain(campaign *Campaign, history []porcupine.Operation) {
	_, info := porcupine.CheckOperationsVerbose(model, history, checker.timeout)
	if err := porcupine.VisualizePath(model, info, checker.html); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	var longest []porcupine.Operation
	for _, order := range info.PartialLinearizationsOperations()[0] {
		if len(order) > len(longest) {
			longest = order
		}
	}
	placed := map[any]bool{}
	for _, one := range longest {
		placed[one.Input] = true
	}
	fmt.Printf("campaign %d is not linearizable: after %d of %d operations none of these is possible (page %s)\n",
		campaign.Campaign, len(longest), len(history), checker.html)
	firstReturn := int64(-1)
	for _, one := range history {
		if !placed[one.Input] && (firstReturn < 0 || one.Return < firstReturn) {
			firstReturn = one.Return
		}
	}
	for _, one := range history {
		if !placed[one.Input] && one.Call <= firstReturn {
			fmt.Printf("  %d to %d us: %v\n", one.Call/1000, one.Return/1000, one.Input)
		}
	}
}

func (checker *checker) report() int {
	rate := float64(checker.operations) / max(checker.spent.Seconds(), 1e-9)
	fmt.Printf("checked: %d operations of %d campaigns in %.2f s, %.0f per second\n",
		checker.operations, checker.campaigns, checker.spent.Seconds(), rate)
	fmt.Printf("slowest campaign: %.2f s\n", checker.slowest.Seconds())
	fmt.Printf("memory: %s\n", memory())
	if len(checker.illegal) > 0 {
		fmt.Printf("not linearizable: campaigns %v\n", checker.illegal)
		return 1
	}
	if len(checker.undecided) > 0 {
		fmt.Printf("not decided in time: campaigns %v\n", checker.undecided)
		return 3
	}
	if checker.campaigns == 0 {
		fmt.Println("there is no campaign in the history")
		return 2
	}
	return 0
}
