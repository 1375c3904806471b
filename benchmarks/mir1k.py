import argparse, sys
from pathlib import Path
from mir1k_rows import ROWS, words
import subprocess
p=argparse.ArgumentParser(); p.add_argument('row'); p.add_argument('--root',type=Path); p.add_argument('--output',type=Path); p.add_argument('--seed',type=int,default=0); p.add_argument('--tiny',action='store_true')
o=p.parse_args()
r=ROWS[o.row]
sys.exit(subprocess.call([sys.executable,'-m',f'{r.pillar}.train',*words(r,o.root,o.output,o.seed,o.tiny)]))
