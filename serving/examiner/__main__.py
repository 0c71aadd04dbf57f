from serving.examiner.process import main

main()
