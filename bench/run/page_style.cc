// The style sheet of the page: light, dark, paper.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/page.h"

namespace shmbus::bench {

const char* page_style() {
    return R"css(
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1d2023; --soft: #666c72;
  --rule: #dcdfe1; --band: #f3f4f3; --ours: #c2410c; --limit: #1d2023; --hiccup: #8b9197;
  --good: #18703c; --bad: #b3261e;
  --p0: #2563a8; --p1: #2e8b57; --p2: #8e44ad; --p3: #b8860b; --p4: #0e8a96; --p5: #c2388f;
  --p6: #6b7d1f; --p7: #5b5bd6; --p8: #8a7350; --p9: #4a6b82; --p10: #7a4b6e; --p11: #3d7d6c; }
@media (prefers-color-scheme: dark) { :root { --paper: #17191b; --ink: #e4e6e7; --soft: #9aa1a7;
  --rule: #34383c; --band: #1f2225; --ours: #ff8a4c; --limit: #e4e6e7; --hiccup: #7c838a;
  --good: #6cc48c; --bad: #ff8077;
  --p0: #79b0f0; --p1: #6fcf97; --p2: #c792ea; --p3: #e2b93b; --p4: #4fd0dd; --p5: #f088c6;
  --p6: #b5c94e; --p7: #a3a3ff; --p8: #c9b48a; --p9: #93b4c9; --p10: #c89abb; --p11: #8accb9; } }
@media print { :root { color-scheme: light; } section { break-inside: avoid; } }
body { background: var(--paper); color: var(--ink); margin: 0 auto; padding: 2rem 1.5rem 4rem;
  max-width: 68rem; font: 15px/1.5 system-ui, "Liberation Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.25rem; margin: 3rem 0 .3rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .2rem; } p { margin: .4rem 0; max-width: 50rem; }
.soft, caption, figcaption { color: var(--soft); } .reading { font-size: 1.05rem; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums;
  font-size: 12.5px; } .wide { overflow-x: auto; }
th, td { text-align: right; padding: .22rem .5rem; border-bottom: 1px solid var(--rule);
  white-space: nowrap; } th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, td.w { text-align: left; } td.w { white-space: normal; }
td.v { white-space: normal; min-width: 7rem; overflow-wrap: anywhere; }
.r th:last-child { text-align: left; }
tr.ours td:first-child { color: var(--ours); font-weight: 700; }
tr.limit td:first-child { font-style: italic; } tr.absent td { color: var(--hiccup); }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
svg { width: 100%; height: auto; display: block; margin: .6rem 0; }
svg .t { font: 12px system-ui, "Liberation Sans", sans-serif; fill: var(--soft); }
svg .n { fill: var(--ink); } svg .h { fill: var(--ink); font-weight: 600; }
svg .g { stroke: var(--rule); } svg .a { stroke: var(--soft); }
svg .l { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
svg .b { stroke: none; } svg .d { stroke: var(--paper); }
svg .l.ours { stroke: var(--ours); stroke-width: 3; }
svg .l.limit { stroke: var(--limit); stroke-dasharray: 7 4; }
svg .l.hiccup { stroke: var(--hiccup); stroke-dasharray: 2 3; }
svg .b.ours, svg .d.ours { fill: var(--ours); } svg .b.limit, svg .d.limit { fill: var(--limit); }
svg .b.limit { opacity: .45; } svg .b.unranked { fill: var(--hiccup); opacity: .5; }
svg .l.second { stroke: var(--p0); } svg .d.second { fill: var(--p0); }
svg .l.third { stroke: var(--p1); } svg .d.third { fill: var(--p1); }
svg .l.fourth { stroke: var(--p2); stroke-dasharray: 5 3; } svg .d.fourth { fill: var(--p2); }
svg .l.old { stroke: var(--ours); stroke-dasharray: 3 3; }
)css";
}

}  // namespace shmbus::bench
