package main

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// A breach changes a copy of a correct history so that it is wrong. It returns false if the campaign has nothing to
// change.
type breach struct {
	name  string
	plant func(*Campaign, *rand.Rand) bool
}

var breaches = []breach{
	{"more sold than the stock", oversell},
	{"a refusal becomes a unit beyond the stock", sellBeyond},
	{"more than the limit of a user", overstep},
	{"an accepted participation is lost", lose},
	{"a participation that nobody asked for", invent},
	{"a rank changes", changeRank},
	{"ranks are not in the order of arrival", swapRanks},
	{"a key sells twice", sellTwice},
	{"a key gets another response", answerDifferently},
	{"a key is refused after its acceptance", refuseKey},
	{"sold out while there are units", sellOutEarly},
	{"sold out long after the units were returned", sellOutLate},
	{"already participated, with the participation of another user", nameAnother},
	{"a cancellation is lost", loseCancel},
	{"a cancellation that nobody asked for", inventCancel},
	{"the stock is read wrongly", misread},
}

// Of each breach, so many are planted, unless they are planted in every so many campaigns.
const plantedMax = 3

type planter struct {
	random  *rand.Rand
	timeout time.Duration
	every   int // 0: in the first campaigns
	seen    int
	planted []int
	missed  []string
}

// newPlanter returns nil, which plants nothing, without a seed.
func newPlanter(seed int64, every int, timeout time.Duration) *planter {
	if seed < 0 {
		return nil
	}
	return &planter{every: every, random: rand.New(rand.NewSource(seed)), timeout: timeout, planted: make([]int, len(breaches))}
}

func (planter *planter) plant(batch []*Campaign) {
	if planter == nil {
		return
	}
	for _, campaign := range batch {
		planter.seen++
		isTurn := planter.every > 0 && planter.seen%planter.every == 0
		for nth, breach := range breaches {
			if !isTurn && (planter.every > 0 || planter.planted[nth] == plantedMax) {
				continue
			}
			broken := campaign.copy()
			if !breach.plant(broken, planter.random) {
				continue
			}
			planter.planted[nth]++
			result := porcupine.CheckOperationsTimeout(model, Resolve(broken), planter.timeout)
			if result != porcupine.Illegal {
				missed := fmt.Sprintf("%s (campaign %d: %s)", breach.name, campaign.Campaign, result)
				planter.missed = append(planter.missed, missed)
			}
		}
	}
}

func (planter *planter) report() int {
	if planter == nil {
		return 0
	}
	planted := 0
	for nth, breach := range breaches {
		planted += planter.planted[nth]
		if planter.planted[nth] == 0 {
			planter.missed = append(planter.missed, breach.name+" (no campaign to plant it in)")
		}
	}
	fmt.Printf("planted: %d violations of %d kinds, %d missed\n", planted, len(breaches), len(planter.missed))
	var kinds []string
	for _, breach := range breaches {
		kinds = append(kinds, breach.name)
	}
	fmt.Println("kinds: " + strings.Join(kinds, "; "))
	if len(planter.missed) > 0 {
		fmt.Println("  " + strings.Join(planter.missed, "\n  "))
		return 1
	}
	return 0
}

func (campaign *Campaign) copy() *Campaign {
	other := *campaign
	other.Requests = slices.Clone(campaign.Requests)
	other.Cancels = slices.Clone(campaign.Cancels)
	other.Stocks = slices.Clone(campaign.Stocks)
	other.Listed = slices.Clone(campaign.Listed)
	return &other
}

// pick returns one of the lines that fit, or nil.
func pick(lines []Line, random *rand.Rand, fits func(*Line) bool) *Line {
	var fitting []*Line
	for nth := range lines {
		if fits(&lines[nth]) {
			fitting = append(fitting, &lines[nth])
		}
	}
	if len(fitting) == 0 {
		return nil
	}
	return fitting[random.Intn(len(fitting))]
}

func isAccepted(line *Line) bool { return line.Outcome == accepted }

func isAcceptedKey(line *Line) bool { return isAccepted(line) && line.Key != "" }

func isStanding(line *Line) bool { return line.Status == "confirmed" }

func (campaign *Campaign) row(id string) *Line {
	for nth := range campaign.Listed {
		if campaign.Listed[nth].ID == id {
			return &campaign.Listed[nth]
		}
	}
	return &Line{}
}

// standing returns the units of all, and the most of one user.
func (campaign *Campaign) standing() (all, most int64) {
	users := map[int64]int64{}
	for _, row := range campaign.Listed {
		if isStanding(&row) {
			all += row.Quantity
			users[row.User] += row.Quantity
			most = max(most, users[row.User])
		}
	}
	return all, most
}

// forget removes what remains from all lines, so that only the other rules can find a breach.
func (campaign *Campaign) forget() {
	for nth := range campaign.Requests {
		campaign.Requests[nth].Remaining = nil
	}
	for nth := range campaign.Listed {
		campaign.Listed[nth].Remaining = nil
	}
}
