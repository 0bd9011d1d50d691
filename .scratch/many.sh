for k in $(seq 1 6); do
  for j in 1 2 3 4; do
    timeout 500 deno run -A .scratch/storm_over.ts inotify $((k*100+j*17+2)) 3 >> /tmp/many.log 2>&1 &
  done
  wait
done
echo finished >> /tmp/many.log
